import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, isAbsolute, matchesGlob, normalize, resolve } from "node:path";
import { Fault, isFault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { formatSize } from "../../common/units.ts";
import type { OutputFile } from "../../wire/common.ts";
import { connect } from "../connect.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import { progressBar } from "../format/progress.ts";
import { counted, oneLine } from "../format/text.ts";
import { resolveId } from "../query.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent outputs get ID [GLOBS]`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const { options } = call;
  const [word = "", ...globs] = call.args;
  const to = resolve(context.cwd, options.text("to") ?? ".");
  await using backend = await connect(context, options);
  const id = await resolveId(backend, word);
  const choice = choose(await backend.outputs(id), globs, id);
  const plans = choice.held.map((file) => ({ file, destination: resolve(to, safePath(file.path)) }));
  const taken = plans.filter(({ destination }) => existsSync(destination));
  if (taken.length > 0 && !options.flag("force")) {
    throw new Fault(
      "CONFLICT",
      `${counted(taken.length, "file")} would be replaced: ${taken.map((plan) => plan.destination).join(", ")}`,
      {
        hint: "add --force, or choose another place with --to DIRECTORY",
      },
    );
  }
  const done: object[] = [];
  const missing: Missing[] = choice.elsewhere.map((file) => ({ path: file.path, reason: whereIs(file) }));
  // What lies elsewhere is a remark, unless it was asked for by name or was all that there is.
  let failed = (globs.length > 0 || choice.held.length === 0) && missing.length + choice.unknown.length > 0;
  const progress = await progressBar(context, choice.held);
  for (const { file, destination } of plans) {
    progress.begin(file.path);
    await mkdir(dirname(destination), { recursive: true });
    try {
      await backend.saveOutput(id, file, destination);
    } catch (error) {
      if (!isFault(error, "NOT_FOUND")) throw error;
      missing.push({
        path: file.path,
        reason: [error.message, error.hint ?? ""].filter((text) => text !== "").join("; "),
      });
      failed = true;
      continue;
    } finally {
      progress.end(file.bytes);
    }
    done.push({ path: file.path, file: destination, bytes: file.bytes, sha256: file.sha256 });
    if (context.format === "name") context.print(`${destination}\n`);
    else if (!isMachine(context.format)) {
      context.print(
        `${context.out.style("green", context.symbols.good)} ${oneLine(destination)}  ${formatSize(file.bytes)}, digest verified\n`,
      );
    }
  }
  progress.close();
  if (context.format === "jsonl") await printData(context, done);
  else if (isMachine(context.format))
    await printData(context, { files: done, not_fetched: missing, unknown: choice.unknown });
  if (!isMachine(context.format) || context.format === "jsonl") tellMissing(context, missing, choice.unknown);
  return failed ? 1 : 0;
}

interface Missing {
  readonly path: string;
  /** Why, and where it lies. */
  readonly reason: string;
}

function tellMissing(context: CliContext, missing: readonly Missing[], unknown: readonly string[]): void {
  for (const { path, reason } of missing) {
    context.note(
      `${context.err.style("yellow", context.symbols.warn)} ${oneLine(path)}  not fetched: ${oneLine(reason)}`,
    );
  }
  for (const glob of unknown) {
    context.note(`${context.err.style("yellow", context.symbols.warn)} no output fits ${quoted(glob)}`);
  }
}

function whereIs({ url }: OutputFile): string {
  const where = url === undefined ? "it stayed at the site" : `it lies at ${url}`;
  return `the hub does not hold it; ${where} (on the site's machine, add --local)`;
}

interface Choice {
  readonly held: readonly OutputFile[];
  readonly elsewhere: readonly OutputFile[];
  /** Patterns that no output fits. */
  readonly unknown: readonly string[];
}

function choose(files: readonly OutputFile[], globs: readonly string[], id: string): Choice {
  const fits = (file: OutputFile, glob: string): boolean =>
    file.output === glob || file.path === glob || matchesGlob(file.path, glob);
  const chosen = globs.length === 0 ? files : files.filter((file) => globs.some((glob) => fits(file, glob)));
  const unknown = globs.filter((glob) => !files.some((file) => fits(file, glob)));
  if (chosen.length > 0) {
    return { held: chosen.filter((file) => file.stored), elsewhere: chosen.filter((file) => !file.stored), unknown };
  }
  if (globs.length === 0) throw new Fault("NOT_FOUND", `job '${id}' has no outputs`);
  throw new Fault("NOT_FOUND", `no output of job '${id}' fits ${globs.map((glob) => quoted(glob)).join(", ")}`, {
    hint: `see: siteagent outputs ls ${id}`,
  });
}

/** A path from a server is never followed out of the chosen directory. */
function safePath(path: string): string {
  const plain = normalize(path);
  if (isAbsolute(plain) || plain === ".." || plain.startsWith("../") || plain.includes("\0")) {
    throw new Fault("UNSAFE_PATH", `the output ${quoted(path)} has a path that leaves its directory`);
  }
  return plain;
}
