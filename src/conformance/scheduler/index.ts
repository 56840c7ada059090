/** What every scheduler adapter promises (src/schedulers/types.ts), proven through its verbs alone on a scheduler that really runs jobs. */
import type { Suite } from "../suite.ts";
import { arrays } from "./arrays.ts";
import { follows } from "./follow.ts";
import type { SchedulerHarness } from "./jobs.ts";
import { ends, holding } from "./orders.ts";
import { outages } from "./outage.ts";
import { finds, submits } from "./submit.ts";

export type { SchedulerHarness } from "./jobs.ts";

export const schedulerSuite: Suite<SchedulerHarness> = {
  type: "scheduler",
  groups: { submits, finds, follows, ends, holds: holding, arrays, "an outage": outages },
  abilities: {
    arrays: "many alike jobs are submitted as one",
    hold: "a job that waits can be held and released",
    history: "ended jobs are told for at least a minute, with their exit codes",
    outage: "the scheduler can be made unreachable for a while",
  },
  lacking: ({ scheduler, holds, outage }) => [
    ...(scheduler.capabilities.arrays ? [] : ["arrays"]),
    ...(holds === false ? ["hold"] : []),
    ...(scheduler.capabilities.history === "none" ? ["history"] : []),
    ...(outage === undefined ? ["outage"] : []),
  ],
  shared: true,
  timeoutMs: 180_000,
};
