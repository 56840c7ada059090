/** Cancelling, holding, releasing. */
import { newToken } from "../../common/token.ts";
import { contains, differs, equal, like } from "../check.ts";
import type { Case } from "../suite.ts";
import { waitFor } from "../wait.ts";
import {
  type SchedulerHarness,
  cancelled,
  context,
  minutesAgo,
  orderOne,
  over,
  patienceMs,
  statusOne,
  submitted,
  until,
} from "./jobs.ts";

export const ends: readonly Case<SchedulerHarness>[] = [
  {
    name: "a running job, and its processes are gone",
    run: async (harness) => {
      const job = await submitted(harness, 'touch "$PWD/up-$SITEAGENT_NATIVE_ID"; sleep 600');
      await until(harness, job, "running");
      await cancelled(harness, job);
    },
  },

  {
    name: "a job that waits",
    run: async (harness) => {
      const { small, waiting } = harness;
      const job = await submitted(harness, "exit 0", { placement: { ...small.placement, native: waiting } });
      equal((await statusOne(harness.scheduler, job)).state, "queued");
      await cancelled(harness, job);
    },
  },

  {
    name: "nothing twice: what is over is said to be over",
    run: async (harness) => {
      const { scheduler, neverUsedId } = harness;
      const job = await submitted(harness, "exit 0");
      await over(harness, job);
      const never = { id: neverUsedId, token: newToken(), submittedAt: minutesAgo(1) };
      const results = await scheduler.cancel([job, never], context);
      equal(
        results.map(({ state }) => state),
        ["over", "over"],
      );
      equal(await scheduler.cancel([], context), []);
    },
  },

  {
    name: "one of several, in order, and the others go on",
    run: async (harness) => {
      const { scheduler, neverUsedId } = harness;
      const first = await submitted(harness, "sleep 600");
      const second = await submitted(harness, "sleep 600");
      try {
        const never = { id: neverUsedId, token: newToken(), submittedAt: minutesAgo(1) };
        const results = await scheduler.cancel([never, second], context);
        equal(
          results.map(({ state }) => state),
          ["over", "requested"],
        );
        await over(harness, second);
        contains(["queued", "running"], (await statusOne(scheduler, first)).state);
      } finally {
        await cancelled(harness, first);
      }
    },
  },

  {
    name: "an id that is none reaches no command",
    run: async (harness) => {
      const { scheduler } = harness;
      const bystander = await submitted(harness, "sleep 600");
      try {
        for (const id of ["", "all", "0", "-9", "--user=root", "1,2", "1 2", "*", "1;rm -rf /"]) {
          const wrong = { id, token: newToken(), submittedAt: minutesAgo(1) };
          differs((await orderOne(scheduler.cancel([wrong], context))).state, "requested");
        }
        contains(["queued", "running"], (await statusOne(scheduler, bystander)).state);
      } finally {
        await cancelled(harness, bystander);
      }
    },
  },
];

export const holding: readonly Case<SchedulerHarness>[] = [
  {
    name: "a job that waits, says that it is stuck, and lets it go again",
    needs: "hold",
    run: async (harness) => {
      const { scheduler, small, waiting } = harness;
      const job = await submitted(harness, "exit 0", { placement: { ...small.placement, native: waiting } });
      try {
        equal((await until(harness, job, "queued")).stuck ?? false, false);
        equal(await orderOne(scheduler.hold([job], context)), { state: "requested" });
        const held = await waitFor(
          async () => {
            const status = await until(harness, job, "queued");
            return status.stuck === true ? status : undefined;
          },
          { what: "the hold", timeoutMs: patienceMs },
        );
        like(held.reason, /\w/);
        equal(await orderOne(scheduler.release([job], context)), { state: "requested" });
        await waitFor(async () => (await until(harness, job, "queued")).stuck !== true, {
          what: "the release",
          timeoutMs: patienceMs,
        });
      } finally {
        await cancelled(harness, job);
      }
    },
  },

  {
    name: "what it does not know is over, in order",
    needs: "hold",
    run: async (harness) => {
      const { scheduler, neverUsedId } = harness;
      const never = { id: neverUsedId, token: newToken(), submittedAt: minutesAgo(1) };
      equal(await scheduler.hold([never], context), [{ state: "over" }]);
      equal(await scheduler.release([never], context), [{ state: "over" }]);
    },
  },
  {
    name: "refuses to hold where it cannot, and the job goes on",
    without: "hold",
    run: async (harness) => {
      const { scheduler, small, waiting } = harness;
      const job = await submitted(harness, "exit 0", { placement: { ...small.placement, native: waiting } });
      try {
        equal((await orderOne(scheduler.hold([job], context))).state, "refused");
        equal((await orderOne(scheduler.release([job], context))).state, "refused");
        like(await statusOne(scheduler, job), { state: "queued" });
      } finally {
        await cancelled(harness, job);
      }
    },
  },
];
