/** The body of a batch job's script, after directives and prologue: pure. */
import { quote } from "../../runner/plan-files.ts";

export interface BodyInput {
  /** What the site's lines find. They may change `PATH`, and what they leave is the command's. */
  readonly environment: Readonly<Record<string, string>>;
  /** The administrator's own lines: module loads, licences, scratch directories. */
  readonly preamble: readonly string[];
  /** Absolute path of recorder.sh on the host. */
  readonly recorder: string;
  /** Attempt directories; more than one: an array, in the order of its tasks. */
  readonly directories: readonly [string, ...string[]];
}

/** Sets a few variables, runs the site's lines and becomes the recorder of the attempt: guard, identity, limit and exit record are its work. */
export function batchBody(input: BodyInput): string {
  const [only, ...others] = input.directories;
  const choice =
    others.length === 0
      ? [`directory=${quote(only)}`]
      : [
          `case $SITEAGENT_TASK in`,
          ...input.directories.map((directory, index) => `${index}) directory=${quote(directory)} ;;`),
          `*) echo "siteagent: there is no task '$SITEAGENT_TASK'" >&2; exit 64 ;;`,
          `esac`,
        ];
  return [
    ...choice,
    ...Object.entries(input.environment).map(([name, value]) => `export ${name}=${quote(value)}`),
    ...input.preamble,
    `exec /bin/sh ${quote(input.recorder)} "$directory"`,
    "",
  ].join("\n");
}
