import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { Fault, isFault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { builtInRegistries } from "../../config/registries.ts";
import { siteSchema } from "../../config/site-schema.ts";
import { checkUrlRule } from "../../config/urls.ts";
import type { CliContext } from "../context.ts";
import { readText } from "../input.ts";
import type { Options } from "../options.ts";

/** What a site file is made of. */
export interface Answers {
  readonly site: string;
  readonly api: string;
  readonly clientId: string;
  /** Where the secret lies already. */
  readonly secretFile: string | undefined;
  /** The secret itself, to be put into a file beside the site file. */
  readonly secret: string | undefined;
  readonly workdir: string | undefined;
  readonly slots: number;
  readonly sources: readonly string[];
  readonly destinations: readonly string[];
  readonly exampleApp: boolean;
  readonly allowHttp: boolean;
}

/** From flags alone. @throws Fault USAGE that names every missing flag, and every one that is wrong. */
export async function answersFromFlags(context: CliContext, options: Options): Promise<Answers> {
  checkFlags(options);
  const secretFile = options.text("secret-file") ?? "";
  return {
    site: options.text("site") ?? "",
    api: checkedUrl(options.text("api") ?? ""),
    clientId: options.text("client-id") ?? "",
    secretFile: secretFile === "-" ? undefined : resolve(context.cwd, secretFile),
    secret: secretFile === "-" ? ((await readText(context, "-")).split(/\r?\n/, 1)[0] ?? "") : undefined,
    ...rest(context, options),
  };
}

function checkFlags(options: Options): void {
  const missing = ["site", "api", "client-id", "secret-file"]
    .filter((name) => !options.given(name))
    .map((name) => `--${name}`);
  const wrong = wrongFlags(options);
  if (missing.length === 0 && wrong.length === 0) return;
  const are = missing.length === 1 ? "is" : "are";
  const sentences = wrong.map((problem) => problem.text);
  if (missing.length > 0) sentences.unshift(`there is no terminal to ask on, and ${missing.join(", ")} ${are} missing`);
  throw new Fault("USAGE", sentences.join("\n  "), {
    hint: "siteagent init --site ID --api URL --client-id ID --secret-file FILE",
    details: { missing, wrong: wrong.map((problem) => problem.flag) },
  });
}

/** What is wrong with the flags that are given, each in a sentence. */
function wrongFlags(options: Options): readonly { readonly flag: string; readonly text: string }[] {
  const wrong: { flag: string; text: string }[] = [];
  const check = (flag: string, test: () => void): void => {
    try {
      test();
    } catch (error) {
      if (!isFault(error, "USAGE")) throw error;
      wrong.push({ flag, text: error.message });
    }
  };
  const ids = { site: siteSchema.shape.site, "client-id": siteSchema.shape.api.shape.client_id };
  for (const [name, schema] of Object.entries(ids)) {
    const value = options.text(name);
    if (value === undefined) continue;
    const parsed = schema.safeParse(value);
    const problem = parsed.error?.issues[0]?.message;
    if (problem !== undefined) wrong.push({ flag: `--${name}`, text: `--${name} ${quoted(value)} is not ${problem}` });
  }
  const api = options.text("api");
  if (api !== undefined) check("--api", () => checkedUrl(api));
  check("--slots", () => options.integer("slots", 1, 100_000));
  for (const name of ["source", "destination"]) {
    for (const url of options.list(name)) {
      const problem = checkUrlRule(url, builtInRegistries.schemes);
      if (problem) wrong.push({ flag: `--${name}`, text: `--${name}: ${problem.message}` });
    }
  }
  return wrong;
}

function rest(context: CliContext, options: Options) {
  const workdir = options.text("workdir");
  return {
    workdir: workdir === undefined ? undefined : resolve(context.cwd, workdir),
    slots: options.integer("slots", 1, 100_000) ?? availableParallelism(),
    sources: options.list("source"),
    destinations: options.list("destination"),
    exampleApp: options.flag("example-app"),
    allowHttp: options.flag("allow-http"),
  };
}

/** Asks for what the flags leave open: at most seven questions. @throws Fault CANCELLED. */
export async function answersFromTerminal(
  context: CliContext,
  options: Options,
  defaultWorkdir: string,
): Promise<Answers> {
  const prompts = await import("@clack/prompts");
  const output = process.stderr;
  const asked = async (
    name: string,
    message: string,
    initialValue: string | undefined,
    check: (text: string) => string | undefined,
  ): Promise<string> => {
    const given = options.text(name);
    if (given !== undefined) return given;
    const answer = await prompts.text({
      message,
      output,
      ...(initialValue === undefined ? {} : { initialValue }),
      validate: (text) => check(text ?? ""),
    });
    if (prompts.isCancel(answer)) throw new Fault("CANCELLED", "nothing was written");
    return answer;
  };
  const needed = (text: string): string | undefined => (text.trim() === "" ? "An answer is needed" : undefined);
  prompts.intro("A site file for this machine", { output });
  const site = await asked("site", "Site id, as central knows it", undefined, needed);
  const api = await asked("api", "Address of the central API", "https://", (text) =>
    URL.canParse(text) ? undefined : "An address like https://api.example.org",
  );
  const clientId = await asked("client-id", "Client id of the site", undefined, needed);
  const secretFile = options.text("secret-file");
  let secret: string | undefined;
  if (secretFile === undefined) {
    const answer = await prompts.password({
      message: "Client secret (kept in a file with mode 0600)",
      output,
      validate: (text) => needed(text ?? ""),
    });
    if (prompts.isCancel(answer)) throw new Fault("CANCELLED", "nothing was written");
    secret = answer;
  }
  const workdir = await asked("workdir", "Where jobs run", defaultWorkdir, needed);
  const slots = await asked("slots", "Jobs at the same time", String(availableParallelism()), (text) =>
    /^[1-9]\d{0,4}$/.test(text) ? undefined : "A number from 1",
  );
  let exampleApp = options.flag("example-app");
  if (!exampleApp) {
    const answer = await prompts.confirm({ message: "Include the app 'hello' (workflow hello-1.0.0) to try?", output });
    if (prompts.isCancel(answer)) throw new Fault("CANCELLED", "nothing was written");
    exampleApp = answer;
  }
  return {
    ...rest(context, options),
    site,
    api: checkedUrl(api),
    clientId,
    secretFile: secretFile === undefined ? undefined : resolve(context.cwd, secretFile),
    secret,
    workdir: workdir === defaultWorkdir && !options.given("workdir") ? undefined : resolve(context.cwd, workdir),
    slots: Number(slots),
    exampleApp,
  };
}

function checkedUrl(text: string): string {
  if (URL.canParse(text) && /^https?:/.test(text)) return text.replace(/\/+$/, "");
  throw new Fault("USAGE", `--api ${quoted(text)} is no address`, { hint: "write https://api.example.org" });
}
