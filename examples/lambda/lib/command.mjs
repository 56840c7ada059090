// What the four steps share: options, messages, exit codes.
import { stat } from "node:fs/promises";
import { parseArgs } from "node:util";
import { ExitError, exitCodes } from "./files.mjs";

function problemsOf(name, option, value) {
  if (option.integer || option.number) {
    const form = option.integer ? /^[0-9]+$/ : /^[0-9]+(\.[0-9]+)?$/;
    const number = Number(value);
    const [least, most] = option.range;
    if (!form.test(value) || number < least || number > most) {
      const kind = option.integer ? "an integer" : "a number";
      return [`--${name}: '${value}' is not ${kind} from ${least} to ${most}`];
    }
  }
  if (option.pattern && !option.pattern.test(value))
    return [`--${name}: '${value}' does not match ${option.pattern.source}`];
  return [];
}

function parse(options, argv) {
  try {
    const described = Object.fromEntries(
      Object.entries(options).map(([name, { multiple = false }]) => [name, { type: "string", multiple }]),
    );
    return parseArgs({ args: argv, options: described, allowPositionals: false }).values;
  } catch (error) {
    throw new ExitError(exitCodes.usage, error.message);
  }
}

/** The values of a command line, checked; all problems at once. */
export function readOptions(options, argv) {
  const given = parse(options, argv);
  const problems = [];
  const values = {};
  for (const [name, option] of Object.entries(options)) {
    const value = given[name] ?? option.default;
    if (value === undefined) {
      problems.push(`--${name} is missing`);
      continue;
    }
    for (const one of [value].flat()) problems.push(...problemsOf(name, option, one));
    values[name] = option.integer || option.number ? Number(value) : value;
  }
  if (problems.length > 0) throw new ExitError(exitCodes.usage, problems.join("; "));
  return values;
}

/** Refuses an output directory that is not there, before any work is done. */
export async function requireDirectory(path) {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isDirectory()) throw new ExitError(exitCodes.noInput, `cannot use '${path}': no such directory`);
}

/** Prints one line of progress. */
export function say(step, text) {
  process.stdout.write(`readqc ${step}: ${text}\n`);
}

/** Runs a step: prints the usage text for --help, turns failures into one line on stderr and an exit code. */
export async function runStep(step, usage, options, main) {
  const argv = process.argv.slice(2);
  if (argv.includes("--help")) {
    process.stdout.write(usage);
    return;
  }
  try {
    await main(readOptions(options, argv));
  } catch (error) {
    const expected = error instanceof ExitError;
    const hint = expected && error.exitCode === exitCodes.usage ? " (--help shows the options)" : "";
    process.stderr.write(`readqc ${step}: ${expected ? error.message : error.stack}${hint}\n`);
    process.exitCode = expected ? error.exitCode : exitCodes.internal;
  }
}
