/**
 * Several commands by one shell: to start a program costs a process as large as the agent far more than it costs a shell, and holds up its
 * main loop meanwhile.
 */
import { randomBytes } from "node:crypto";
import type { CallContext } from "../common/context.ts";
import { asFault, Fault } from "../common/fault.ts";
import { shellQuoted } from "../common/shell.ts";
import type { Host, RunResult } from "../hosts/types.ts";
import { runCommand, type SchedulerCommand } from "./command.ts";

/** After so long no further command is begun: what the agent notes before a bundle is not to be long ahead of what is done. */
const longestS = 10;

export type BundledCommand<Answer> = Omit<SchedulerCommand<Answer>, "parse" | "environment"> & {
  readonly stdin: string;
  parse(result: RunResult): Answer;
};

/** Characters of a script that a pipe takes at once, however they are encoded. */
const longestPlain = 16_000;

/** Said before anything is asked. */
export interface Rejection {
  readonly state: "rejected";
  readonly reason: string;
}

/** Certain that nothing was accepted; or no clear answer. */
type NoAnswer =
  | { readonly state: "limited"; readonly reason: string }
  | { readonly state: "unclear"; readonly why: string };

/**
 * Submissions, one after the other: schedulers limit the requests of an account, and a crash leaves at most one that is unclear. An answer for each, in order.
 * @throws Fault LAUNCH when nothing was begun.
 */
export async function submitAll<Answer>(
  host: Host,
  commands: readonly BundledCommand<Answer>[],
  environment: Readonly<Record<string, string>>,
  context: CallContext,
): Promise<readonly (Answer | NoAnswer)[]> {
  const [first] = commands;
  try {
    // A script that the pipe does not hold whole would be cut if we were killed, and the scheduler would take what it got.
    if (first && commands.length === 1 && first.stdin.length < longestPlain)
      return [await runCommand(host, first, environment, context)];
    const answers = await runBundle(host, commands, environment, context);
    const reason = "nothing was submitted: those before it took long";
    return answers.map((answer) => answer ?? { state: "limited", reason });
  } catch (error) {
    const { code, message } = asFault(error);
    if (code === "LAUNCH") throw error;
    return commands.map(() => ({ state: "unclear", why: message }));
  }
}

/**
 * Runs them one after the other. An answer for each, in order; `undefined`: it was not begun, and never will be. When whoever waits for the answers is gone
 * no further one is begun. All have the same program, time limit and output limit.
 * @throws Fault LAUNCH when the program is not there: then nothing ran; others of the host: then nothing is known.
 */
export async function runBundle<Answer>(
  host: Host,
  commands: readonly BundledCommand<Answer>[],
  environment: Readonly<Record<string, string>>,
  context: CallContext,
): Promise<readonly (Answer | undefined)[]> {
  const [first] = commands;
  if (!first) return [];
  const key = randomBytes(16).toString("hex");
  const { timeoutMs, maxOutputBytes } = first;
  const request = { argv: ["/bin/sh"], cwd: "/", environment, timeoutMs, maxOutputBytes } as const;
  const whole = await host.run({ ...request, stdin: program(commands, key) }, context);
  if (whole.stdout.startsWith(`${key} missing\n`))
    throw new Fault("LAUNCH", `'${first.argv[0]}' is in no directory of PATH '${environment["PATH"] ?? ""}'`);
  return commands.map((command, index) => {
    const result = resultOf(whole, key, index);
    return result && command.parse(result);
  });
}

/** A shell that got only a part of it runs nothing: it is a function, and called at its end. */
function program(commands: readonly BundledCommand<unknown>[], key: string): string {
  const [first] = commands;
  const uptime = "read -r up rest </proc/uptime";
  const steps = commands.map(({ argv, stdin }, index) => {
    const text = stdin.endsWith("\n") ? stdin : `${stdin}\n`;
    // A mark that nobody reads any more ends the shell.
    return `${uptime}; [ "\${up%.*}" -lt "$end" ] && hash -r && command -v ${shellQuoted(argv[0])} >/dev/null 2>&1 || exit 0
printf '\\n${key} ${index}\\n' && printf '\\n${key} ${index}\\n' >&2 || exit 1
${argv.map(shellQuoted).join(" ")} <<'${key}'
${text}${key}
printf '\\n${key} ${index} %s\\n' "$?" || exit 1
`;
  });
  return `main() {
command -v ${shellQuoted(first?.argv[0] ?? "")} >/dev/null 2>&1 || { echo '${key} missing'; exit 127; }
${uptime}; end=$((\${up%.*} + ${longestS}))
${steps.join("")}}
main
`;
}

/** What belongs to one of them; undefined = it was not begun. */
function resultOf(whole: RunResult, key: string, index: number): RunResult | undefined {
  const { stdout, stderr, truncated, timedOut, signal } = whole;
  const begin = `\n${key} ${index}\n`;
  const from = stdout.indexOf(begin);
  const cut = timedOut || truncated || signal !== undefined;
  if (from < 0 && !cut) return undefined;
  const said = stderr.split(`\n${key} `)[index + 1] ?? "";
  const words = said.slice(said.indexOf("\n") + 1);
  const rest = from < 0 ? "" : stdout.slice(from + begin.length);
  const [, out = rest, code] = new RegExp(`^(.*?)\n${key} ${index} (\\d+)\n`, "s").exec(rest) ?? [];
  if (code === undefined)
    return { exitCode: undefined, signal: signal ?? "SIGKILL", stdout: out, stderr: words, truncated, timedOut };
  return { exitCode: Number(code), signal: undefined, stdout: out, stderr: words, truncated: false, timedOut: false };
}
