import { allCommands } from "./declare/all.ts";
import type { CliContext } from "./context.ts";
import { globalOptions } from "./declare/common.ts";
import { helpTopics } from "./help-topics.ts";
import { Options } from "./options.ts";
import type { Completable, CommandSpec, OptionSpec } from "./spec.ts";
import { symbolsOf, terminalOf } from "./terminal.ts";

/** Whatever has not come by then is not offered; a shell must never hang. */
const limitMs = 300;
const mostWords = 200;

/** What may stand at the cursor: words, or a kind to look up. */
export interface Offer {
  readonly words: readonly string[];
  readonly kind: Completable | undefined;
  /** Flags typed so far, for look-ups: which hub, or the agent here. */
  readonly given: Readonly<Record<string, string | boolean>>;
  /** Arguments typed so far: the workflow whose parameters are meant. */
  readonly args: readonly string[];
}

/** `siteagent __complete -- WORDS`: one word per line, `__files__` for file names. The last word is the unfinished one. */
export async function complete(argv: readonly string[], process: NodeJS.Process): Promise<number> {
  const words = argv[0] === "--" ? argv.slice(1) : argv;
  const current = words.at(-1) ?? "";
  const offer = offerFor(words.slice(0, -1), current);
  const looked = offer.kind === undefined ? [] : await lookUp(offer.kind, offer, process);
  const fitting = [...offer.words, ...looked].filter((word) => word.startsWith(current) || word === "__files__");
  process.stdout.write(
    [...new Set(fitting)]
      .slice(0, mostWords)
      .map((word) => `${word}\n`)
      .join(""),
  );
  return 0;
}

/** Pure: from the words before the cursor and the beginning of the current one. */
export function offerFor(
  before: readonly string[],
  current: string,
  commands: readonly CommandSpec[] = allCommands,
): Offer {
  let level = commands;
  let spec: CommandSpec | undefined;
  let pending: OptionSpec | undefined;
  const args: string[] = [];
  const given: Record<string, string | boolean> = {};
  for (const word of before) {
    const options = [...(spec?.options ?? []), ...globalOptions];
    if (pending) {
      given[longName(pending)] = word;
      pending = undefined;
    } else if (word.startsWith("-")) {
      const option = options.find((one) => spellings(one).includes(word.split("=", 1)[0] ?? ""));
      if (option && takesValue(option) && !word.includes("=")) pending = option;
      else if (option) given[longName(option)] = word.includes("=") ? word.slice(word.indexOf("=") + 1) : true;
    } else {
      const next = level.find((one) => one.name === word);
      if (next && args.length === 0) {
        spec = next;
        level = next.subcommands ?? [];
      } else args.push(word);
    }
  }
  return { ...offerAt(spec, level, pending, args.length, current), given, args };
}

function offerAt(
  spec: CommandSpec | undefined,
  level: readonly CommandSpec[],
  pending: OptionSpec | undefined,
  positional: number,
  current: string,
): Pick<Offer, "words" | "kind"> {
  const options = [...(spec?.options ?? []), ...globalOptions];
  if (pending) return { words: pending.choices ?? [], kind: pending.complete };
  if (current.startsWith("-")) {
    const [flag = "", value] = current.split("=", 2);
    const option = value === undefined ? undefined : options.find((one) => spellings(one).includes(flag));
    if (option) return { words: (option.choices ?? []).map((choice) => `${flag}=${choice}`), kind: undefined };
    return { words: options.flatMap(spellings).filter((name) => name.startsWith("--")), kind: undefined };
  }
  if (level.length > 0 && positional === 0) {
    return { words: level.filter((one) => !one.hidden).map((one) => one.name), kind: undefined };
  }
  const all = spec?.arguments ?? [];
  const argument = all[positional] ?? all.findLast((one) => one.name.includes("..."));
  const words = spec?.name === "completion" ? ["bash", "zsh", "fish"] : argument?.complete === "job" ? ["last"] : [];
  return { words, kind: argument?.complete };
}

function spellings(option: OptionSpec): readonly string[] {
  return option.flags.split(/[ ,]+/).filter((word) => word.startsWith("-"));
}

function longName(option: OptionSpec): string {
  return (spellings(option).findLast((word) => word.startsWith("--")) ?? "").slice(2);
}

function takesValue(option: OptionSpec): boolean {
  return /[<[]/.test(option.flags);
}

async function lookUp(kind: Completable, offer: Offer, process: NodeJS.Process): Promise<readonly string[]> {
  if (kind === "file") return ["__files__"];
  const commands = allCommands.map((spec) => spec.name);
  if (kind === "command") return commands;
  if (kind === "topic") return [...Object.keys(helpTopics), ...commands];
  const stop = AbortSignal.timeout(limitMs);
  try {
    const { lookUpWords } = await import("./complete-lookup.ts");
    return await lookUpWords(kind, quietContext(process, stop), new Options(offer.given), offer.args);
  } catch {
    return []; // nobody who presses Tab wants to read why
  }
}

function quietContext(process: NodeJS.Process, signal: AbortSignal): CliContext {
  const terminal = terminalOf({ write: () => true }, process.env, "never");
  return {
    env: process.env,
    cwd: process.cwd(),
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    out: terminal,
    err: terminal,
    symbols: symbolsOf(terminal),
    format: "json",
    utc: true,
    signal,
    now: () => Date.now(),
    print: () => {},
    note: () => {},
  };
}
