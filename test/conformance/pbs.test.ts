import type { SchedulerHarness } from "../../src/conformance/scheduler/index.ts";
import { systemClock } from "../../src/common/clock.ts";
import { LocalHost } from "../../src/hosts/local/index.ts";
import { createPbs } from "../../src/schedulers/pbs/index.ts";
import { describeScheduler } from "./scheduler.ts";
import { FakePbs } from "../helpers/fake-pbs/index.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

/** Of `-a`: local time of the server, far away. */
const farAway = `${new Date(systemClock.now()).getFullYear() + 1}01011200`;

describeScheduler("pbs", () => harness("openpbs"));
describeScheduler("pbs, Torque", () => harness("torque"));

async function harness(flavour: "openpbs" | "torque"): Promise<SchedulerHarness> {
  const pbs = await FakePbs.start(flavour);
  const directory = await temporaryDirectory();
  const host = new LocalHost({ name: "here", workdir: directory.path });
  return {
    scheduler: createPbs({ host, environment: pbs.environment }),
    workdir: directory.path,
    small: {
      resources: { nodes: 1, ranks_per_node: 1, threads_per_rank: 1, gpus: 0 },
      walltimeS: 3_600,
      placement: { queue: "workq", native: [] },
    },
    waiting: ["-a", farAway],
    wrongQueue: "nonesuch",
    neverUsedId: "999999.fakepbs",
    outage: async () => {
      await pbs.setFaults({ down: true });
      return { [Symbol.asyncDispose]: () => pbs.setFaults({}) };
    },
    [Symbol.asyncDispose]: async () => {
      await pbs[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}
