import { expect, test } from "vitest";
import { silentLogger } from "../../../src/common/logger.ts";
import { RecentLog } from "../../../src/common/recent-log.ts";

const words = (log: RecentLog): readonly string[] => log.lines.map((line) => line.replace(/^\S+ /, ""));

test("the last lines name their job, also where it was bound before, the mode, and what went wrong", () => {
  const log = new RecentLog(silentLogger);
  const ofJob = log.child({ component: "driver" }).child({ jobId: "j1" });
  ofJob.info({ files: 3 }, "outputs are staged");
  log.info({ jobId: "j2", to: "RUNNING" }, "job changed");
  log.info({ mode: "paused" }, "mode changed");
  ofJob.warn({ err: new Error("no room") }, "a step failed");
  log.debug({}, "nobody needs this");
  expect(words(log)).toEqual([
    "info outputs are staged j1",
    "info job changed j2 RUNNING",
    "info mode changed paused",
    "warn a step failed j1 no room",
  ]);
});

test("only the last twenty are kept", () => {
  const log = new RecentLog(silentLogger);
  for (let at = 1; at <= 25; at++) log.info({}, `line ${at}`);
  expect(words(log)).toHaveLength(20);
  expect(words(log).at(-1)).toBe("info line 25");
});
