import type { CallContext } from "../common/context.ts";
import { inSlices, isSteps, type Steps } from "../common/slices.ts";
import type { Host, RunResult } from "../hosts/types.ts";

/** One command of a scheduler: how it is called and, purely, what its answer means. */
export interface SchedulerCommand<Answer> {
  readonly argv: readonly [string, ...string[]];
  readonly stdin?: string;
  /** Beside `LC_ALL=C` and what locates the scheduler. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly maxOutputBytes: number;
  /** Pure; takes any bytes and never throws. What may be an answer about thousands of jobs is read in steps. */
  parse(result: RunResult): Answer | Steps<Answer>;
}

/** Time limits of the reference: a query that takes longer is no answer, a submission may wait for its controller for minutes. */
export const queryTimeoutMs = 60_000;
export const submitTimeoutMs = 180_000;
export const orderTimeoutMs = 60_000;
/** 50,000 jobs of some hundred bytes each. */
export const queryOutputBytes = 64 * 1024 * 1024;
export const smallOutputBytes = 1024 * 1024;

/** Runs it on the host with an environment that nothing of an enclosing job or of a person's settings gets into. */
export async function runCommand<Answer>(
  host: Host,
  command: SchedulerCommand<Answer>,
  environment: Readonly<Record<string, string>>,
  context: CallContext,
): Promise<Answer> {
  const result = await host.run(
    {
      argv: command.argv,
      cwd: "/",
      environment: { ...environment, ...command.environment },
      timeoutMs: command.timeoutMs,
      maxOutputBytes: command.maxOutputBytes,
      ...(command.stdin === undefined ? {} : { stdin: command.stdin }),
    },
    context,
  );
  const answer = command.parse(result);
  return isSteps(answer) ? await inSlices(answer) : answer;
}
