import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { loadSite } from "../../config/compile.ts";
import { fingerprint } from "../../config/fingerprint.ts";
import { ConfigProblems, problemText } from "../../config/problems.ts";
import { builtInRegistries } from "../../config/registries.ts";
import { siteSchema } from "../../config/site-schema.ts";
import { parseYaml } from "../../config/yaml-text.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import { counted, manyLines } from "../format/text.ts";
import { siteFilePath } from "../site-file.ts";
import type { CommandCall } from "../spec.ts";

const invalidExit = 78;

/** `siteagent validate [file]`: a site file or a hub file; its keys tell which. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const given = call.args[0];
  const file = given === undefined ? siteFilePath(context, undefined) : resolve(context.cwd, given);
  try {
    const { digest, what } = (await isHubFile(file)) ? await checkHub(context, file) : await checkSite(context, file);
    if (isMachine(context.format)) await printData(context, { file, valid: true, digest, problems: [] });
    else if (context.format === "name") context.print(`${file}\n`);
    else context.print(`${context.out.style("green", `${context.symbols.good} valid`)}: ${file}: ${what}\n`);
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

interface Checked {
  readonly digest: string;
  /** What the file is about, for people. */
  readonly what: string;
}

async function checkSite(context: CliContext, file: string): Promise<Checked> {
  const { id, apps, targets, digest } = await loadSite(file, builtInRegistries, { env: context.env });
  const parts = [counted(Object.keys(apps).length, "app"), counted(Object.keys(targets).length, "target")];
  return { digest, what: `site '${id}', ${parts.join(", ")}` };
}

async function checkHub(context: CliContext, file: string): Promise<Checked> {
  const { loadHubFile } = await import("../../hub/load.ts");
  const { settings } = await loadHubFile(file, { env: context.env });
  const { workflows, triggers, store } = settings;
  const parts = [counted(workflows.length, "workflow"), counted(triggers.length, "trigger")];
  return { digest: fingerprint(settings), what: `hub on ${store?.kind ?? "no store"}, ${parts.join(", ")}` };
}

/** True when more of its keys belong to a hub's file than to a site's. A file that cannot be read is a site's, whose check says why. */
async function isHubFile(file: string): Promise<boolean> {
  const text = await readFile(file, "utf8").catch(() => "");
  const { value } = parseYaml(text, file);
  if (typeof value !== "object" || value === null) return false;
  const { hubConfigSchema } = await import("../../hub/config.ts");
  const keys = Object.keys(value);
  const fitting = (schema: { readonly shape: object }) => keys.filter((key) => Object.hasOwn(schema.shape, key)).length;
  return fitting(hubConfigSchema) > fitting(siteSchema);
}
