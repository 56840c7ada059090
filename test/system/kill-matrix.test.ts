/**
 * SIGKILL of the agent and the runner at the failpoints around claim, start, end, report, cancel, clean-up and transfer, and of the hub at
 * all of its own: nothing is lost, nothing runs twice, no file of others is touched, the books balance. A point that is not reached fails.
 * `npm run prove -- matrix` has all points, both dialects, and all three at once.
 */
import { afterAll, describe, it } from "vitest";
import type { FailpointName } from "../../src/common/failpoints.ts";
import { type KillCase, killCases } from "../helpers/kill-cases.ts";
import type { Dialect } from "../helpers/kill-scenarios.ts";
import { KillStage, nameOf } from "../helpers/kill-stage.ts";

/** What is the same code in both dialects is killed in one of them here. */
const inBoth = /^(claim|report)\.|^start\.after-launch$|^end\.before-record$/;
const cases = killCases.filter(
  (one) =>
    one.victim !== "all" &&
    one.slow !== true &&
    (one.dialect === "hub" || inBoth.test(one.point) || !killCases.some((other) => isHubTwin(one, other))),
);

function isHubTwin(one: KillCase, other: KillCase): boolean {
  return other.dialect === "hub" && other.point === one.point && other.victim === one.victim;
}

/** A case has one place. */
const faults: readonly (readonly [title: string, isIn: (point: FailpointName) => boolean])[] = [
  ["B1: between the intent of a claim and the call", among("claim.after-intent", "claim.before-send")],
  [
    "B2: after the answer to a claim, before its record",
    among("claim.after-send", "claim.after-sync", "claim.before-record"),
  ],
  ["B3, TAP-2: after the intent of a start, before the start", among("start.after-intent", "start.before-launch")],
  ["B4, TAP-2: in the middle of a start", (point) => /^(launcher|runner)\.\w+-(launch|plan|directory)$/.test(point)],
  ["B5, TAP-2: after the start, before its record", among("start.after-launch", "start.before-running")],
  ["B6, TAP-2: around the start of the recorder", among("runner.before-spawn", "runner.after-spawn")],
  ["B8: between a snapshot and its rename", among("journal.before-snapshot-write", "journal.before-rename")],
  ["B9: after an end was recorded, before its report", among("end.after-record", "report.before-send")],
  ["B10: after a report, before its acknowledgement", among("report.after-send", "report.before-ack")],
  [
    "B11: in the middle of a cancel, a clean-up, a transfer",
    among(
      "cancel.after-intent",
      "cancel.before-stop",
      "cancel.after-stop",
      "clean.before-remove",
      "clean.after-remove",
      "transfer.after-part",
      "transfer.before-rename",
      "transfer.before-put",
    ),
  ],
  ["TAP-3: the hub, before and after each of its transactions", (point) => point.startsWith("hub.")],
  [
    "on the rest of a job's way",
    among(
      "stage.before-record",
      "hook.after-preprocess",
      "archive.before-record",
      "report.after-ack",
      "journal.after-sync",
    ),
  ],
];

function among(...points: readonly FailpointName[]): (point: FailpointName) => boolean {
  return (point) => points.includes(point);
}

const groups = faults.map(([title, isIn], index) => ({
  title,
  cases: cases.filter(({ point }) => isIn(point) && !faults.slice(0, index).some(([, isEarlier]) => isEarlier(point))),
}));

/** Stages of both dialects, each for one case at a time. */
const free: Record<Dialect, KillStage[]> = {
  hub: [new KillStage("hub"), new KillStage("hub"), new KillStage("hub")],
  nmdc: [new KillStage("nmdc")],
};
const all = [...free.hub, ...free.nmdc];
const waiting: Record<Dialect, ((stage: KillStage) => void)[]> = { hub: [], nmdc: [] };

async function onStage(one: KillCase): Promise<void> {
  const stage =
    free[one.dialect].pop() ?? (await new Promise<KillStage>((resolve) => waiting[one.dialect].push(resolve)));
  try {
    await stage.run(one);
  } finally {
    const next = waiting[one.dialect].shift();
    if (next) next(stage);
    else free[one.dialect].push(stage);
  }
}

afterAll(async () => {
  for (const stage of all) await stage[Symbol.asyncDispose]();
});

describe.each(groups)("$title", ({ cases: some }) => {
  it.concurrent.each(some.map((one) => ({ name: nameOf(one), one })))(
    "$name",
    { timeout: 300_000 },
    async ({ one }) => {
      await onStage(one);
    },
  );
});
