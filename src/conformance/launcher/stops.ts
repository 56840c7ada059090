/** Stopping attempts. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { contains, equal, like, rejects } from "../check.ts";
import type { Case } from "../suite.ts";
import { waitFor } from "../wait.ts";
import {
  type LauncherHarness,
  context,
  launchOne,
  makePlan,
  readOut,
  statusNow,
  stopped,
  untilState,
} from "./attempts.ts";

export const stops: readonly Case<LauncherHarness>[] = [
  {
    name: "ends a running attempt, and the cause is the order",
    run: async (harness) => {
      const it = await makePlan(harness.root, "sleep 60");
      const ref = await launchOne(harness.launcher, it);
      await untilState(harness.launcher, ref, "running");
      const [first] = await harness.launcher.stop([ref], { graceMs: 1_000, reason: "test" }, context);
      equal(first, { state: "stopping" });
      await stopped(harness.launcher, ref);
      like(await statusNow(harness.launcher, ref), {
        state: "ended",
        end: { cause: "cancelled" },
        remaining: [],
      });
    },
  },

  {
    name: "lets it clean up within the grace period",
    run: async (harness) => {
      const it = await makePlan(harness.root, "trap 'echo cleaned; exit 3' TERM; echo ready; sleep 60 & wait");
      const ref = await launchOne(harness.launcher, it);
      await waitFor(async () => (await readOut(it)).includes("ready"), { what: "the trap" });
      await stopped(harness.launcher, ref, 5_000);
      like((await statusNow(harness.launcher, ref)) as object, {
        end: { cause: "cancelled", exit_code: 3 },
      });
      contains(await readOut(it), "cleaned");
    },
  },

  {
    name: "D1: ends one that ignores TERM, and all its children",
    run: async (harness) => {
      const it = await makePlan(harness.root, "trap '' TERM; sleep 61 & sleep 62 & echo ready; wait; sleep 63");
      const ref = await launchOne(harness.launcher, it);
      await waitFor(async () => (await readOut(it)).includes("ready"), { what: "the trap" });
      await stopped(harness.launcher, ref, 200);
      like(await statusNow(harness.launcher, ref), { state: "ended", remaining: [] });
    },
  },

  {
    name: "an attempt that was stopped before its start never starts",
    run: async (harness) => {
      const it = await makePlan(harness.root, "touch ../ran");
      await stopped(harness.launcher, it);
      await harness.launcher.launch([it], context);
      await rejects(stat(join(it.workDirectory, "..", "ran")), { code: "ENOENT" });
    },
  },

  {
    name: "D6: an exit in the very moment of the stop has one end, and its code is kept",
    run: async (harness) => {
      const plans = await Promise.all(
        Array.from({ length: 8 }, (_, index) => makePlan(harness.root, `sleep 0.${index}; exit 4`)),
      );
      const refs = await Promise.all(plans.map((it) => launchOne(harness.launcher, it)));
      for (const ref of refs.slice(0, 4)) await untilState(harness.launcher, ref, "ended");
      await Promise.all(refs.map((ref) => stopped(harness.launcher, ref, 5_000)));
      const ends = await Promise.all(refs.map(async (ref) => await untilState(harness.launcher, ref, "ended")));
      like(ends[3]?.end, { cause: "exit", exit_code: 4 });
      for (const { end, remaining } of ends) {
        equal(remaining, []);
        contains(["exit", "cancelled"], end.cause);
        if (end.cause === "exit") equal(end.exit_code, 4);
      }
      const later = harness.reopen();
      const again = await Promise.all(refs.map(async (ref) => await untilState(later, ref, "ended")));
      equal(
        again.map(({ end }) => end),
        ends.map(({ end }) => end),
      );
      await later[Symbol.asyncDispose]();
    },
  },

  {
    name: "D6: stopping what has ended changes nothing",
    run: async (harness) => {
      const it = await makePlan(harness.root, "exit 4");
      const ref = await launchOne(harness.launcher, it);
      await untilState(harness.launcher, ref, "ended");
      await stopped(harness.launcher, ref);
      like(await statusNow(harness.launcher, ref), { end: { cause: "exit", exit_code: 4 } });
    },
  },
];
