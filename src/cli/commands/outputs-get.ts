import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, isAbsolute, matchesGlob, normalize, resolve } from "node:path";
import { Fault } from "../../common/fault.ts";
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
  const chosen = choose(await backend.outputs(id), globs, id);
  const plans = chosen.map((file) => ({ file, destination: resolve(to, safePath(file.path)) }));
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
  const progress = await progressBar(context, chosen);
  for (const { file, destination } of plans) {
    progress.begin(file.path);
    await mkdir(dirname(destination), { recursive: true });
    await backend.saveOutput(id, file, destination);
    progress.end(file.bytes);
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
  else if (isMachine(context.format)) await printData(context, { files: done });
  return 0;
}

function choose(files: readonly OutputFile[], globs: readonly string[], id: string): readonly OutputFile[] {
  const stored = files.filter((file) => file.stored);
  if (globs.length === 0) {
    if (stored.length > 0) return stored;
    throw new Fault("NOT_FOUND", `nothing of job '${id}' can be fetched`, {
      hint: files.length === 0 ? "it has no outputs" : `its outputs lie elsewhere, see: siteagent outputs ls ${id}`,
    });
  }
  const chosen = files.filter((file) =>
    globs.some((glob) => file.output === glob || file.path === glob || matchesGlob(file.path, glob)),
  );
  if (chosen.length > 0) return chosen;
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
