/** Following jobs to their ends. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { newToken } from "../../common/token.ts";
import { contains, differs, equal, holds, like } from "../check.ts";
import type { Case } from "../suite.ts";
import {
  type SchedulerHarness,
  canTell,
  cancelled,
  context,
  minutesAgo,
  orderOne,
  over,
  statusOne,
  submitted,
  until,
} from "./jobs.ts";

export const follows: readonly Case<SchedulerHarness>[] = [
  {
    name: "a job from queue to end",
    run: async (harness) => {
      const job = await submitted(
        harness,
        'while ! test -e "$PWD/go-$SITEAGENT_NATIVE_ID"; do sleep 0.2; done; exit 0',
      );
      const running = await until(harness, job, "running");
      if (running.since !== undefined)
        holds(Math.abs(Date.parse(running.since) - Date.now()) < 600_000, `it runs since ${running.since}`);
      equal(running.suspended ?? false, false);
      await mkdir(join(harness.workdir, `go-${job.id}`));
      const verdict = await over(harness, job);
      if (canTell(harness)) like(verdict, { kind: "completed", exitCode: 0 });
    },
  },

  {
    name: "exit codes as they are",
    needs: "history",
    run: async (harness) => {
      const codes = [0, 1, 3, 120, 255];
      const jobs = await Promise.all(codes.map((code) => submitted(harness, `exit ${code}`)));
      for (const [index, job] of jobs.entries()) {
        const code = codes[index];
        like(await over(harness, job), { kind: code === 0 ? "completed" : "failed", exitCode: code });
      }
    },
  },

  {
    name: "death by a signal is no success",
    needs: "history",
    run: async (harness) => {
      const verdict = await over(harness, await submitted(harness, "kill -KILL $$"));
      equal(verdict?.kind, "failed");
      if (verdict?.signal === undefined) contains([137, 265], verdict?.exitCode);
      else equal(verdict.signal, "SIGKILL");
    },
  },
  {
    name: "what never was is absent, and hides nothing of the others",
    run: async (harness) => {
      const { scheduler, neverUsedId } = harness;
      const running = await submitted(harness, "sleep 600");
      try {
        await until(harness, running, "running");
        const never = { id: neverUsedId, token: newToken(), submittedAt: minutesAgo(1) };
        const statuses = await scheduler.statuses([never, running, never], context);
        equal(
          statuses.map(({ state }) => state),
          ["absent", "running", "absent"],
        );
        equal(await scheduler.statuses([never], context), [{ state: "absent" }]);
        equal(await scheduler.statuses([], context), []);
      } finally {
        await cancelled(harness, running);
      }
    },
  },

  {
    name: "E13: another job that has our number now is not ours, and is not cancelled for it",
    run: async (harness) => {
      const { scheduler } = harness;
      const theirs = await submitted(harness, "sleep 600");
      try {
        await until(harness, theirs, "running");
        const ours = { ...theirs, token: newToken() };
        equal(await scheduler.statuses([ours], context), [{ state: "absent" }]);
        const later = { ...theirs, submittedAt: new Date(Date.now() + 7 * 86_400_000).toISOString() };
        equal(await scheduler.statuses([later], context), [{ state: "absent" }]);
        differs((await orderOne(scheduler.cancel([ours], context))).state, "requested");
        equal((await statusOne(scheduler, theirs)).state, "running");
      } finally {
        await cancelled(harness, theirs);
      }
    },
  },
];
