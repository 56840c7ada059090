/** The body of a batch job's script, after directives and prologue: pure. */
import type { Token } from "../../common/token.ts";
import { quote } from "../../runner/plan-files.ts";
import { logFile, submissionFile } from "./places.ts";

export interface BodyInput {
  /** What the site's lines find. They may change `PATH`, and what they leave is the command's. */
  readonly environment: Readonly<Record<string, string>>;
  /** The administrator's own lines: module loads, licences, scratch directories. */
  readonly preamble: readonly string[];
  /** Absolute path of recorder.sh on the host. */
  readonly recorder: string;
  /** One attempt's directory; or the file with the plans of an array (arrays.ts), and as what that is submitted. */
  readonly attempt: { readonly directory: string } | ArrayInput;
}

interface ArrayInput {
  readonly file: string;
  readonly tasks: number;
  readonly token: Token;
  /** ISO 8601. */
  readonly at: string;
}

/** Sets a few variables, runs the site's lines and becomes the recorder of the attempt: guard, identity, limit and exit record are its work. */
export function batchBody(input: BodyInput): string {
  const { attempt } = input;
  return [
    ...("directory" in attempt ? [`directory=${quote(attempt.directory)}`] : taskLines(attempt)),
    ...Object.entries(input.environment).map(([name, value]) => `export ${name}=${quote(value)}`),
    ...input.preamble,
    `exec /bin/sh ${quote(input.recorder)} "$directory"`,
    "",
  ].join("\n");
}

/**
 * Takes the task's plan out of the array's file, as many bytes from where its line says, notes as what it was submitted, for the file is not kept
 * for ever, and goes on in the attempt's own log.
 */
function taskLines({ file, tasks, token, at }: ArrayInput): readonly string[] {
  const submission = `{"v":1,"token":"${token}","task":%s,"at":"${at}"}\\n`;
  return [
    "PATH=/usr/local/bin:/usr/bin:/bin",
    `tasks=${quote(file)}`,
    `[ "$SITEAGENT_TASK" -ge 0 ] && [ "$SITEAGENT_TASK" -lt ${tasks} ] || { echo "siteagent: there is no task '$SITEAGENT_TASK'"; exit 64; } >&2`,
    `line=$(sed -n "$((SITEAGENT_TASK + 2)){p;q;}" "$tasks") && [ -n "$line" ] || { echo "siteagent: cannot read '$tasks'"; exit 1; } >&2`,
    "from=${line%% *}",
    "line=${line#* }",
    "length=${line%% *}",
    "line=${line#* }",
    "directory=${line#* }",
    `exec >>"$directory/${logFile}" 2>&1 || exit 1`,
    // Whole or not at all: a second run of the task finds the first one's plan in use.
    `(`,
    `  umask 077`,
    `  part=$directory/plan.sh.$$`,
    `  printf ${quote(submission)} "$SITEAGENT_TASK" >"$part" && mv -f "$part" "$directory/${submissionFile}" || exit 1`,
    `  tail -c "+$from" "$tasks" | head -c "$length" >"$part" && [ "$(wc -c <"$part")" -eq "$length" ] && mv -f "$part" "$directory/plan.sh"`,
    `) || { echo "siteagent: the plan cannot be taken out of '$tasks'"; exit 1; } >&2`,
  ];
}
