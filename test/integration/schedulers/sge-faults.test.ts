/** A real Grid Engine whose jobs fail, are limited, deleted and begun again, and whose master crashes. */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";
import type { CallContext } from "../../../src/common/context.ts";
import { newToken } from "../../../src/common/token.ts";
import type {
  ScheduledJob,
  ScheduledStatus,
  Scheduler,
  SubmitRequest,
  Verdict,
} from "../../../src/schedulers/types.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import type { GridEngineCell } from "../../helpers/engines/gridengine-cell.ts";
import { waitFor } from "../../helpers/wait.ts";
import { context } from "../launchers/attempts.ts";
import { gridEngineOf, small, startCell, waiting, workdirOf } from "./sge-place.ts";

const patience = { timeout: 180_000 };
const patienceMs = 90_000;

describeWithEngine("gridengine", "faults on a real Grid Engine", () => {
  describe("a cell", patience, () => {
    let cell: GridEngineCell;
    let scheduler: Scheduler;
    beforeAll(async () => {
      cell = await startCell();
      scheduler = gridEngineOf(cell);
    }, patience.timeout);
    afterAll(async () => {
      await cell[Symbol.asyncDispose]();
    }, patience.timeout);

    function request(body: string, more: Partial<SubmitRequest> = {}): SubmitRequest {
      const directory = workdirOf(cell);
      return { token: newToken(), tasks: 1, ...small, directory, log: join(directory, "log"), body, ...more };
    }

    async function submitted(body: string, more: Partial<SubmitRequest> = {}): Promise<ScheduledJob> {
      const [result] = await scheduler.submit([request(body, more)], context);
      if (result?.state !== "submitted") throw new Error(JSON.stringify(result));
      return result.job;
    }

    async function statusOf(job: ScheduledJob, call: CallContext = context): Promise<ScheduledStatus | undefined> {
      return (await scheduler.statuses([job], call))[0];
    }

    async function until(job: ScheduledJob, wanted: (status: ScheduledStatus) => boolean): Promise<ScheduledStatus> {
      let last: ScheduledStatus | undefined;
      return await waitFor(
        async () => {
          last = await statusOf(job);
          return last && wanted(last) ? last : undefined;
        },
        { what: () => `job ${job.id}; last ${JSON.stringify(last)}`, timeoutMs: patienceMs, intervalMs: 100 },
      );
    }

    async function endOf(job: ScheduledJob): Promise<Verdict> {
      const status = await until(job, ({ state }) => state === "ended");
      if (status.state !== "ended") throw new Error("not ended");
      return status.verdict;
    }

    const isStuck = (status: ScheduledStatus): boolean => status.state === "queued" && status.stuck === true;

    it("E15: a job in the error state is stuck, with Grid Engine's reason, until it is deleted", async () => {
      const job = await submitted("exit 0", { log: join(workdirOf(cell), "nowhere", "log") });
      const status = await until(job, isStuck);
      expect(status).toMatchObject({ reason: expect.stringContaining("can't open output file") });
      expect(await scheduler.cancel([job], context)).toEqual([{ state: "requested" }]);
      expect(await endOf(job)).toMatchObject({ kind: "cancelled", raw: expect.stringContaining("failed 26") });
    });

    it("E15: exit 100 puts the job into the error state, which is no end", async () => {
      const job = await submitted("exit 100");
      const status = await until(job, isStuck);
      expect(status).toMatchObject({ reason: expect.stringContaining("100") });
      expect(await scheduler.cancel([job], context)).toEqual([{ state: "requested" }]);
      expect((await endOf(job)).kind).toBe("cancelled");
    });

    it("E12: exit 99 begins the job again: the same job, counted, and the last of its records is its end", async () => {
      const mark = join(workdirOf(cell), "again");
      const job = await submitted(`test -d '${mark}' && exit 6; mkdir '${mark}'; exit 99`);
      const again = (status: ScheduledStatus): boolean => "restarts" in status && status.restarts === 1;
      await until(job, (status) => again(status) || status.state === "ended");
      expect(await endOf(job)).toMatchObject({ kind: "failed", exitCode: 6, raw: "failed 0, exit_status 6" });
      await rm(mark, { recursive: true });
    });

    it("E11: the time limit is a timeout", async () => {
      const job = await submitted("sleep 600", { walltimeS: 1 });
      expect(await endOf(job)).toMatchObject({
        kind: "timeout",
        exitCode: 137,
        raw: expect.stringContaining("failed 37"),
      });
    });

    it("E14: a job that somebody else deletes while it is seen to go is cancelled; unseen it is killed, never successful", async () => {
      const job = await submitted("sleep 600");
      await until(job, ({ state }) => state === "running");
      await cell.run("qdel", job.id);
      expect(["cancelled", "failed"]).toContain((await endOf(job)).kind);
    });

    it("a job that waited when it was deleted has no record: absent at once for who deleted it, for others after a while", async () => {
      const [mine, theirs] = [
        await submitted("exit 0", { placement: { native: waiting } }),
        await submitted("exit 0", { placement: { native: waiting } }),
      ];
      await scheduler.cancel([mine], context);
      expect(await statusOf(mine)).toEqual({ state: "absent" });
      await cell.run("qdel", theirs.id);
      expect(await statusOf(theirs)).toEqual({ state: "finishing" });
      const later = { ...context, clock: { ...systemClock, monotonic: () => systemClock.monotonic() + 600_000 } };
      expect(await statusOf(theirs, later)).toEqual({ state: "absent" });
      expect(await statusOf({ ...theirs, token: newToken() })).toEqual({ state: "absent" });
    });

    it("many that ended are asked for in one question; those that never began are not lost", async () => {
      const jobs = await Promise.all([0, 1, 2, 3, 4, 5].map((code) => submitted(`exit ${code}`)));
      for (const job of jobs) await until(job, ({ state }) => state === "ended");
      const fresh = gridEngineOf(cell);
      const statuses = await fresh.statuses(jobs, context);
      expect(statuses.map((status) => (status.state === "ended" ? status.verdict.exitCode : status))).toEqual([
        0, 1, 2, 3, 4, 5,
      ]);
      const wanted = jobs.map(({ token, submittedAt }) => ({ token, since: submittedAt }));
      const found = await fresh.find([...wanted, { token: newToken(), since: jobs[0]?.submittedAt ?? "" }], context);
      expect(found.map((result) => (result.state === "found" ? result.jobs[0].id : result.state))).toEqual([
        ...jobs.map(({ id }) => id),
        "absent",
      ]);
    });

    it("E15: a request that nothing can fulfil says why, but not at once: the question is costly", async () => {
      const resources = { ...small.resources, cores: 4_000 };
      const job = await submitted("exit 0", { resources, placement: { native: [], parallelEnvironment: "smp" } });
      expect(await statusOf(job)).toEqual({ state: "queued" });
      await waitFor(async () => /scheduling info: +\S/.test(await cell.run("qstat", "-j", job.id)), {
        what: "a reason",
        timeoutMs: patienceMs,
      });
      const later = { ...context, clock: { ...systemClock, monotonic: () => systemClock.monotonic() + 61_000 } };
      expect(await statusOf(job, later)).toMatchObject({
        state: "queued",
        reason: expect.stringContaining('cannot run in PE "smp"'),
      });
      await scheduler.cancel([job], context);
    });

    it("E16: limits of the cell are limits, too large an array is a wrong request", async () => {
      await cell.change("-sconf", "-Mconf", "global", { max_u_jobs: "1", max_aj_tasks: "5" });
      try {
        const first = await submitted("exit 0", { placement: { native: waiting } });
        const [second] = await scheduler.submit([request("exit 0")], context);
        expect(second).toMatchObject({
          state: "limited",
          reason: expect.stringContaining("only 1 jobs are allowed per user"),
        });
        await scheduler.cancel([first], context);
        const [array] = await scheduler.submit([request("exit 0", { tasks: 7 })], context);
        expect(array).toMatchObject({ state: "rejected", reason: expect.stringContaining("more than 5 tasks") });
      } finally {
        await cell.change("-sconf", "-Mconf", "global", { max_u_jobs: "0", max_aj_tasks: "75000" });
      }
    });

    it.each([
      [{ queue: "nonesuch", native: [] }, "unknown queue"],
      [{ project: "nonesuch", native: [] }, "project"],
      [{ reservation: "77", native: [] }, "advance reservation"],
      [{ constraint: "nonesuch=1", native: [] }, "unknown resource"],
    ])("E16: %j is rejected in Grid Engine's words", async (placement, words) => {
      const [result] = await scheduler.submit([request("exit 0", { placement })], context);
      expect(result).toMatchObject({ state: "rejected", reason: expect.stringContaining(words) });
    });

    it("paths with blanks are where the job runs and logs; quotes in them are refused before", async () => {
      const directory = join(workdirOf(cell), "a b  c");
      await mkdir(directory);
      const log = join(directory, "the log");
      const job = await submitted("mkdir ran", { directory, log });
      expect((await endOf(job)).kind).toBe("completed");
      await rm(join(directory, "ran"), { recursive: true });
      await rm(log);
      const [quoted] = await scheduler.submit([request("exit 0", { directory: "/it's" })], context);
      expect(quoted).toMatchObject({ state: "rejected", reason: expect.stringContaining("quotes") });
    });

    it("E4: a master that crashed ends nothing, and what ran is seen to run when it is back", async () => {
      const job = await submitted("sleep 600");
      await until(job, ({ state }) => state === "running");
      await cell.killMaster();
      expect(await statusOf(job)).toMatchObject({
        state: "unknown",
        why: expect.stringContaining("unable to send message to qmaster"),
      });
      expect((await scheduler.submit([request("exit 0")], context))[0]?.state).toBe("unclear");
      expect((await scheduler.find([{ token: job.token, since: job.submittedAt }], context))[0]?.state).toBe("unknown");
      expect((await scheduler.cancel([job], context))[0]?.state).toBe("unknown");
      await cell.startMaster();
      expect((await statusOf(job))?.state).toBe("running");
    });
  });
});
