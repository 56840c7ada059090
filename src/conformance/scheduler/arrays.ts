/** Arrays. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { ScheduledJob } from "../../schedulers/types.ts";
import { contains, equal, holds } from "../check.ts";
import type { Case } from "../suite.ts";
import { type SchedulerHarness, cancelled, context, findOne, idsOf, over, statusOne, submitted } from "./jobs.ts";

export const arrays: readonly Case<SchedulerHarness>[] = [
  {
    name: "each task has its own end, and its index",
    needs: "arrays",
    run: async (harness) => {
      const { scheduler, workdir } = harness;
      holds(scheduler.capabilities.mostTasks >= 4, "arrays of fewer than 4 tasks");
      const parent = await submitted(
        harness,
        'mkdir "$PWD/task-$SITEAGENT_NATIVE_ID-$SITEAGENT_TASK"; exit $SITEAGENT_TASK',
        {
          tasks: 4,
        },
      );
      const found = await findOne(scheduler, parent.token);
      equal(idsOf(found), [parent.id]);
      const ends = await Promise.all([0, 1, 2, 3].map((task) => over(harness, { ...parent, task })));
      const made = await Promise.all([0, 1, 2, 3].map((task) => stat(join(workdir, `task-${parent.id}-${task}`))));
      equal(
        made.map((entry) => entry.isDirectory()),
        [true, true, true, true],
      );
      if (!ends.some((end) => end === undefined))
        equal(
          ends.map((end) => end?.exitCode),
          [0, 1, 2, 3],
        );
      const outside = await statusOne(scheduler, { ...parent, task: 4 });
      equal(outside, { state: "absent" });
    },
  },

  {
    name: "one task is cancelled, the others go on, the parent takes the rest",
    needs: "arrays",
    run: async (harness) => {
      const parent = await submitted(harness, "sleep 600", { tasks: 3 });
      const tasks = [0, 1, 2].map((task) => ({ ...parent, task }));
      const [first, second, third] = tasks as [ScheduledJob, ScheduledJob, ScheduledJob];
      try {
        await cancelled(harness, second);
        const others = await harness.scheduler.statuses([first, third], context);
        for (const status of others) contains(["queued", "running"], status.state);
      } finally {
        await harness.scheduler.cancel([parent], context);
      }
      await over(harness, first);
      await over(harness, third);
    },
  },
];
