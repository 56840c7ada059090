import type { RunResult } from "../../hosts/types.ts";
import { wordsOf } from "../text.ts";

/** Texts by which Slurm's commands say that they could not ask, some of them with exit code 0 and on either stream. */
const troubles: readonly (readonly [RegExp, string])[] = [
  [
    /munge|authentication|Invalid authentication credential|credential expired/i,
    "authentication failed (munge, clocks)",
  ],
  [
    /Unable to contact slurm controller|Communication connection failure|Unable to establish controller/i,
    "the controller cannot be reached",
  ],
  [
    /Socket timed out|Connection timed out|Connection refused|Zero Bytes were transmitted|Transport endpoint/i,
    "the controller does not answer",
  ],
  [
    /standby mode|Unexpected message received|Insane message length|Header lengths are longer/i,
    "the controller gives no answer",
  ],
  [
    /Message (?:send|receive) failure|Communication shutdown failure|Received (?:zero length message|message length)/i,
    "the connection broke off",
  ],
  [/Failed to send entire message|shutting down and closing all communications/i, "the connection broke off"],
  [/Rate limit exceeded/i, "the controller limits requests"],
  [/Incompatible versions|version error/i, "commands and controller do not fit together"],
  [
    /talking to (?:the )?database|Unable to connect to database|slurm_persist_conn|slurmdbd|DBD_|Database connection/i,
    "accounting cannot be reached",
  ],
  [
    /Can't find an address|can't be reached now|configuration source|Unable to process configuration|parsing .*slurm\.conf/i,
    "commands do not find their cluster",
  ],
  [/slurm_load_\w+ error/i, "the controller gave an error"],
];

/** Why this text means that nothing was learned; undefined = it does not say so. */
export function troubleIn(text: string): string | undefined {
  const found = troubles.find(([pattern]) => pattern.test(text));
  return found && `${found[1]}: ${wordsOf(text)}`;
}

/** Why the result of a query is no answer at all; undefined = it may be one. */
export function noAnswer(command: string, result: RunResult): string | undefined {
  if (result.timedOut) return `${command} did not end within its time limit`;
  if (result.truncated) return `${command} printed more than its limit`;
  const trouble = troubleIn(result.stderr);
  if (trouble !== undefined) return trouble;
  if (result.exitCode === 0) return undefined;
  const how = result.signal === undefined ? `exit code ${result.exitCode}` : result.signal;
  return `${command} ended with ${how}: ${wordsOf(result.stderr) || wordsOf(result.stdout) || "no word"}`;
}
