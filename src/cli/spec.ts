import type { CliContext } from "./context.ts";
import type { Options } from "./options.ts";

/** One flag of a command. */
export interface OptionSpec {
  /** As commander reads it: `-p, --param <key=value>`. */
  readonly flags: string;
  readonly description: string;
  /** May be given several times; the values become a list. */
  readonly repeat?: boolean;
  readonly choices?: readonly string[];
  /** Shown in help; commands apply it themselves when it depends on other things. */
  readonly default?: string | undefined;
  /** Variable that stands for the flag. */
  readonly env?: string;
  /** What completion offers for its value. */
  readonly complete?: Completable;
}

export interface ArgumentSpec {
  /** `<id>`, `[id]`, `[ids...]`. */
  readonly name: string;
  readonly description: string;
  readonly complete?: Completable;
}

/** Kinds of words that completion looks up at run time. */
export type Completable = "job" | "workflow" | "tag" | "site" | "command" | "file" | "topic" | "parameter";

export interface ExampleSpec {
  readonly command: string;
  readonly what: string;
}

export interface CommandCall {
  /** Positional arguments as typed, optional ones absent. */
  readonly args: readonly string[];
  readonly options: Options;
  readonly command: string;
}

/** A command's code, loaded when it is called. */
export interface CommandModule {
  /** Resolves with the exit code; throws Fault. */
  run(context: CliContext, call: CommandCall): Promise<number>;
}

/** A command as declared: what help, completion and the manual tell, and where its code is. */
export interface CommandSpec {
  readonly name: string;
  readonly group: string;
  /** One line, without a full stop. */
  readonly summary: string;
  /** Further paragraphs for its own help. */
  readonly details?: string;
  readonly arguments?: readonly ArgumentSpec[];
  readonly options?: readonly OptionSpec[];
  readonly examples: readonly ExampleSpec[];
  /** Exit codes with a meaning of their own here. */
  readonly exits?: Readonly<Record<number, string>>;
  readonly subcommands?: readonly CommandSpec[];
  /** True: `-h, --help` is one of its options and its code answers it, from what arguments there are. */
  readonly ownHelp?: boolean;
  /** Not shown. */
  readonly hidden?: boolean;
  /** True: the command handles INT and TERM itself (daemons). */
  readonly ownSignals?: boolean;
  /** True: Ctrl-C is the usual way to end it; it has 30 s to tidy up and its own exit code counts. */
  readonly endsByInterrupt?: boolean;
  /** Absent on a mere parent of subcommands. */
  readonly load?: () => Promise<CommandModule>;
}
