import { constants } from "node:os";
import { Fault } from "../../common/fault.ts";
import { LocalBackend } from "../backend/local.ts";
import { connectAgent } from "../connect.ts";
import type { CliContext } from "../context.ts";
import { resolveId } from "../query.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent attach ID`: the terminal of a running attempt; ends with its exit code, or 0 when left. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  await using backend = new LocalBackend(await connectAgent(context, call.options), context);
  const id = await resolveId(backend, call.args[0] ?? "");
  const detail = await backend.control.job(id);
  const running = detail.attempts.findLast((attempt) => attempt.end === null);
  if (!running) {
    throw new Fault("NOT_FOUND", `job '${id}' has no attempt that runs`, { hint: `siteagent explain ${id} --local` });
  }
  const { attachToAttempt } = await import("../../runner/attach.ts");
  if (process.stdin.isTTY) context.note(`attached to ${id}, attempt ${running.attempt}; Ctrl-] leaves it running`);
  const attached = await attachToAttempt(running.directory, {
    stdin: process.stdin,
    stdout: process.stdout,
    signal: context.signal,
  });
  if (attached.how === "detached") {
    context.note("\nleft; the job goes on");
    return 0;
  }
  context.note(`\nthe attempt has ended: ${attached.signal ?? `exit code ${attached.exitCode ?? "unknown"}`}`);
  if (attached.signal !== undefined) return 128 + (constants.signals[attached.signal as NodeJS.Signals] ?? 0);
  return attached.exitCode ?? 1;
}
