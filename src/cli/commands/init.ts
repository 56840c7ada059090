import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { durableReplace } from "../../common/files.ts";
import { errnoOf, Fault } from "../../common/fault.ts";
import { locate } from "../../common/locations.ts";
import { parseSite } from "../../config/compile.ts";
import { builtInRegistries } from "../../config/registries.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import { runDoctor } from "../doctor/run.ts";
import { printDoctor } from "../format/doctor.ts";
import { type Answers, answersFromFlags, answersFromTerminal } from "../init/answers.ts";
import { siteText } from "../init/site-text.ts";
import { siteFilePath } from "../site-file.ts";
import type { CommandCall } from "../spec.ts";
import { packageRoot } from "../version.ts";

const existsExit = 73;

/** `siteagent init`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const { options } = call;
  const out = options.text("out");
  const file = out === undefined ? siteFilePath(context, undefined) : resolve(context.cwd, out);
  if (existsSync(file) && !options.flag("force")) {
    context.note(
      `siteagent: '${file}' is there already\n     hint: --force replaces it, --out FILE writes another one`,
    );
    return existsExit;
  }
  const asks = context.stdin.isTTY === true && context.err.interactive;
  const answers = asks
    ? await answersFromTerminal(context, options, join(locate("state", context.env), "work"))
    : await answersFromFlags(context, options);
  const secretPath = answers.secretFile ?? join(dirname(file), "client-secret");
  const text = siteText({ ...answers, secretPath, schema: join(packageRoot, "config", "site.schema.json") });
  if (answers.secret !== undefined && existsSync(secretPath) && !options.flag("force")) {
    context.note(`siteagent: '${secretPath}' is there already\n     hint: --force replaces it, --secret-file names it`);
    return existsExit;
  }
  await write(file, secretPath, answers, text, context);
  if (isMachine(context.format)) await printData(context, { file, secret_file: secretPath });
  else {
    context.print(`${context.out.style("green", context.symbols.good)} wrote ${file} (mode 0600)\n`);
    if (answers.secret !== undefined)
      context.print(`${context.out.style("green", context.symbols.good)} wrote ${secretPath} (mode 0600)\n`);
    context.note("next: siteagent run");
  }
  if (options.notRefused("doctor") && !isMachine(context.format)) {
    context.print("\n");
    await printDoctor(context, await runDoctor(file, context));
  }
  return 0;
}

/** The secret first: the site file is checked with it before it gets its name. */
async function write(
  file: string,
  secretPath: string,
  answers: Answers,
  text: string,
  context: CliContext,
): Promise<void> {
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    if (answers.secret !== undefined) {
      if (answers.secret === "") throw new Fault("USAGE", "the client secret is empty");
      await durableReplace(secretPath, `${answers.secret}\n`);
    }
    await parseSite(text, file, builtInRegistries, { env: context.env });
    await durableReplace(file, text);
  } catch (error) {
    const code = errnoOf(error);
    if (error instanceof Fault || code === undefined) throw error;
    throw new Fault("TRANSFER", `'${file}' cannot be written: ${code}`, {
      hint: "choose another place with --out FILE",
      cause: error,
    });
  }
}
