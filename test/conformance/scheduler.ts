import { type SchedulerHarness, schedulerSuite } from "../../src/conformance/scheduler/index.ts";
import { adapters, type SchedulerName } from "./adapters.ts";
import { describeSuite } from "./suite.ts";

/** The suite of all schedulers on one of them. */
export function describeScheduler(name: SchedulerName, make: () => Promise<SchedulerHarness>): void {
  describeSuite(schedulerSuite, name, adapters.scheduler[name], make);
}
