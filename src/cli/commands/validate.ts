import { resolve } from "node:path";
import { loadSite } from "../../config/compile.ts";
import { ConfigProblems, problemText } from "../../config/problems.ts";
import { builtInRegistries } from "../../config/registries.ts";
import type { Site } from "../../config/types.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import { counted, manyLines } from "../format/text.ts";
import { siteFilePath } from "../site-file.ts";
import type { CommandCall } from "../spec.ts";

const invalidExit = 78;

/** `siteagent validate [file]`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const given = call.args[0];
  const file = given === undefined ? siteFilePath(context, undefined) : resolve(context.cwd, given);
  try {
    const site = await loadSite(file, builtInRegistries, { env: context.env });
    if (isMachine(context.format)) await printData(context, { file, valid: true, digest: site.digest, problems: [] });
    else if (context.format === "name") context.print(`${file}\n`);
    else context.print(goodText(context, file, site));
    return 0;
  } catch (error) {
    if (!(error instanceof ConfigProblems)) throw error;
    if (isMachine(context.format)) {
      await printData(context, { file, valid: false, problems: error.problems });
    } else {
      for (const problem of error.problems) context.print(`${manyLines(problemText(problem))}\n`);
      const { bad } = context.symbols;
      context.note(
        `${context.err.style("red", `${bad} invalid`)}: ${counted(error.problems.length, "problem")} in ${file}`,
      );
    }
    return invalidExit;
  }
}

function goodText(context: CliContext, file: string, site: Site): string {
  const apps = Object.keys(site.apps);
  const what = `site '${site.id}', ${counted(apps.length, "app")}, ${counted(Object.keys(site.targets).length, "target")}`;
  return `${context.out.style("green", `${context.symbols.good} valid`)}: ${file}: ${what}\n`;
}
