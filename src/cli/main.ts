import { Fault, asFault } from "../common/fault.ts";
import { type CliContext, isMachine, outputFormats, type OutputFormat } from "./context.ts";
import { faultData, faultText } from "./format/fault.ts";
import type { CommandCall, CommandSpec } from "./spec.ts";
import { type ColorMode, colorModes, symbolsOf, terminalOf } from "./terminal.ts";

/** After the first INT a command has this long to end by itself. */
const interruptGraceMs = 3_000;
const tidyUpMs = 30_000;

export interface GlobalOptions {
  readonly output?: string | undefined;
  readonly color?: string | undefined;
  readonly utc?: boolean | undefined;
}

/** Runs one command line; resolves with the exit code once all that was printed has been written. Never rejects. */
export async function main(argv: readonly string[], process: NodeJS.Process): Promise<number> {
  watchStreams(argv, process);
  const code = await runLine(argv, process);
  await written(process.stdout);
  return code;
}

async function runLine(argv: readonly string[], process: NodeJS.Process): Promise<number> {
  if (argv[0] === "__complete") {
    const { complete } = await import("./complete.ts");
    return await complete(argv.slice(1), process);
  }
  const early = earlyOptions(argv, process.env);
  try {
    const { CommanderError } = await import("commander");
    const { buildProgram } = await import("./program.ts");
    let code = 0;
    const program = buildProgram(process, async (spec, call, global) => {
      code = await runCommand(spec, call, { ...early, ...global }, process);
    });
    try {
      await program.parseAsync(argv, { from: "user" });
    } catch (error) {
      if (!(error instanceof CommanderError)) throw error;
      if (error.code === "commander.help") program.outputHelp();
      if (error.exitCode === 0 || error.code === "commander.help") return 0;
      const { allCommands } = await import("./declare/all.ts");
      throw usageFault(error.message, commandOf(argv, allCommands));
    }
    return code;
  } catch (error) {
    return report(asFault(error), contextOf(early, process, new AbortController().signal));
  }
}

async function runCommand(
  spec: CommandSpec,
  call: CommandCall,
  global: GlobalOptions,
  process: NodeJS.Process,
): Promise<number> {
  const interrupt = spec.ownSignals
    ? undefined
    : watchSignals(process, spec.endsByInterrupt ? tidyUpMs : interruptGraceMs);
  const context = contextOf(global, process, interrupt?.signal ?? new AbortController().signal);
  const onDefect = (error: unknown): void => {
    process.exit(report(asFault(error), context));
  };
  process.on("uncaughtException", onDefect);
  try {
    if (!spec.load) throw new Fault("USAGE", `${call.command} needs a subcommand`);
    const command = await spec.load();
    const code = await command.run(context, call);
    return spec.endsByInterrupt ? code : (interrupt?.code() ?? code);
  } catch (error) {
    return interrupt?.code() ?? report(asFault(error), context);
  } finally {
    process.off("uncaughtException", onDefect);
  }
}

/** The first INT or TERM aborts the signal; the second, or the end of the grace time, ends the process. */
function watchSignals(
  process: NodeJS.Process,
  graceMs: number,
): { readonly signal: AbortSignal; code(): number | undefined } {
  const controller = new AbortController();
  let code: number | undefined;
  const on = (ending: number): void => {
    if (code !== undefined) process.exit(code);
    code = ending;
    controller.abort(new Fault("CANCELLED", "interrupted"));
    setTimeout(() => process.exit(ending), graceMs).unref();
  };
  process.on("SIGINT", () => on(130));
  process.on("SIGTERM", () => on(143));
  return { signal: controller.signal, code: () => code };
}

/** A reader that went away (`| head`) is no fault; data that cannot be written (a full disk) ends every command. */
function watchStreams(argv: readonly string[], process: NodeJS.Process): void {
  process.stderr.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 74));
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    const fault = new Fault("TRANSFER", `standard output cannot be written: ${error.code ?? error.message}`, {
      cause: error,
    });
    const context = contextOf(earlyOptions(argv, process.env), process, new AbortController().signal);
    process.exit(report(fault, context));
  });
}

/** A failed write is told by an event, which comes before the answer to a later one. */
async function written(stream: NodeJS.WriteStream): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  stream.write("", () => resolve(undefined));
  await promise;
}

function contextOf(global: GlobalOptions, process: NodeJS.Process, signal: AbortSignal): CliContext {
  const { env } = process;
  const color = colorModes.find((mode) => mode === global.color) ?? "auto";
  const out = terminalOf(process.stdout, env, color as ColorMode);
  return {
    env,
    cwd: process.cwd(),
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    out,
    err: terminalOf(process.stderr, env, color as ColorMode),
    symbols: symbolsOf(out),
    format: formatOf(global.output, env),
    utc: global.utc === true,
    signal,
    now: () => Date.now(),
    print: (text) => void process.stdout.write(text),
    note: (text) => void process.stderr.write(text.endsWith("\n") ? text : `${text}\n`),
  };
}

function formatOf(given: string | undefined, env: NodeJS.ProcessEnv): OutputFormat {
  const text = given ?? env["SITEAGENT_OUTPUT"] ?? "";
  return outputFormats.find((format) => format === text) ?? "table";
}

/** What must be known before the command line is understood: how to show a usage error. */
function earlyOptions(argv: readonly string[], env: NodeJS.ProcessEnv): GlobalOptions {
  const value = (names: RegExp): string | undefined => {
    for (const [at, word] of argv.entries()) {
      if (word === "--") return undefined;
      const match = names.exec(word);
      if (match) return match[1] !== undefined && match[1] !== "" ? match[1] : argv[at + 1];
    }
    return undefined;
  };
  return {
    output: value(/^(?:-o|--output=?)(.*)$/) ?? env["SITEAGENT_OUTPUT"],
    color: value(/^--color=?(.*)$/),
  };
}

/** commander's sentence, without its prefix; what it suggests becomes the hint. */
function usageFault(message: string, command: readonly string[]): Fault {
  const text = message.replace(/^error: /, "");
  const suggestion = /\n?\(Did you mean (?:one of )?(.*)\?\)/.exec(text);
  const near = suggestion?.[1]?.split(", ").map((word) => `'${word}'`);
  const hint = near
    ? `did you mean ${near.join(" or ")}?`
    : `${["siteagent help", ...command].join(" ")} tells what there is`;
  return new Fault("USAGE", text.replace(/\s*\(Did you mean[^)]*\)/, "").trim(), { hint });
}

/** The words of a command line that name a command, as `outputs ls`. */
function commandOf(argv: readonly string[], commands: readonly CommandSpec[]): readonly string[] {
  const named: string[] = [];
  let specs = commands;
  for (const word of argv) {
    const found = specs.find(({ name }) => name === word);
    if (!found && named.length > 0) break;
    if (!found) continue;
    named.push(found.name);
    specs = found.subcommands ?? [];
  }
  return named;
}

/** Tells the fault on standard error and gives its exit code. */
function report(fault: Fault, context: CliContext): number {
  const text = isMachine(context.format)
    ? `${JSON.stringify(faultData(fault))}\n`
    : faultText(fault, context.err, Boolean(context.env["SITEAGENT_DEBUG"]));
  context.stderr.write(text);
  return fault.row.exit;
}
