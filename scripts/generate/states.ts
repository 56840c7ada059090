/** docs/states.md: the life of a job, from the tables in src/jobs. */
import { parentPolicyMeanings } from "../../src/jobs/parents.ts";
import { endCauses, jobStates, phaseMeanings, stateMeanings } from "../../src/jobs/states.ts";
import { isFinalStatus, statuses, statusOf } from "../../src/jobs/status.ts";
import { isFinal, transitions } from "../../src/jobs/transitions.ts";
import type { GeneratedFile } from "../lib/generated.ts";
import { code, header, table } from "../lib/markdown.ts";

export async function files(): Promise<readonly GeneratedFile[]> {
  return [{ path: "docs/states.md", content: page() }];
}

function page(): string {
  return [
    header("States of a job", "src/jobs/states.ts, transitions.ts, status.ts, parents.ts"),
    "A job is always in one **state**; it is stored. Beside it stand a **phase** (what goes on inside the state) and, when the job does",
    "not move, a **hold** (`blocked`, `paused` or `cancelling`, with reason, since when, tries, next try). The public **status** is computed",
    "from the three.",
    "",
    diagram(),
    "",
    "Any state that is not an end may also go to `FAILED` or `CANCELLED`; outputs are archived before that, if the app's `archive` says so.",
    "`CANCELLED` is entered only when nothing of the job is left running. To try an ended job again, `siteagent retry` makes a new job.",
    "",
    "## States",
    "",
    table(
      ["state", "what is true", "next"],
      jobStates.map((state) => [
        code(state),
        stateMeanings[state],
        transitions[state].map(code).join(", ") || "– (an end)",
      ]),
    ),
    "",
    "## Phases",
    "",
    table(
      ["phase", "what goes on"],
      Object.entries(phaseMeanings).map(([phase, meaning]) => [code(phase), meaning]),
    ),
    "",
    "## Status",
    "",
    "The first row that fits: an end; a hold (`BLOCKED`, `PAUSED`; a job being cancelled shows where it still is); the phase; the state.",
    "",
    table(
      ["status", "comes from"],
      statuses.map((status) => [code(status), sources(status)]),
    ),
    "",
    "## Why attempts end",
    "",
    "Without a proven exit code there is no success. `retry.on` of an app names the causes after which another try is made.",
    "",
    table(
      ["cause", "meaning"],
      Object.entries(endCauses).map(([cause, meaning]) => [code(cause), meaning]),
    ),
    "",
    "## Parents",
    "",
    "A job with parents waits in `AWAITING_PARENTS` until its policy is met.",
    "",
    table(
      ["policy", "starts when"],
      Object.entries(parentPolicyMeanings).map(([policy, meaning]) => [code(policy), meaning]),
    ),
    "",
  ].join("\n");
}

function diagram(): string {
  const lines = ["```mermaid", "stateDiagram-v2", "  [*] --> CREATED"];
  for (const state of jobStates) {
    for (const next of transitions[state]) lines.push(`  ${state} --> ${next}`);
    if (isFinal(state)) lines.push(`  ${state} --> [*]`);
  }
  return [...lines, "```"].join("\n");
}

function sources(status: (typeof statuses)[number]): string {
  if (status === "BLOCKED" || status === "PAUSED") return `hold ${code(status.toLowerCase())}`;
  const states = jobStates.filter((state) => statusOf(state, "none", undefined) === status);
  const phases = Object.keys(phaseMeanings).filter((phase) => {
    return phase !== "none" && statusOf("READY", phase as keyof typeof phaseMeanings, undefined) === status;
  });
  const parts = [];
  if (phases.length > 0) parts.push(`phase ${phases.map(code).join(", ")}`);
  if (states.length > 0) parts.push(`${isFinalStatus(status) ? "end" : "state"} ${states.map(code).join(", ")}`);
  return parts.join("; ");
}
