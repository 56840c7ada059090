import { describeWithEngine } from "../helpers/engines/index.ts";
import { slurmHarness } from "../integration/schedulers/slurm-place.ts";
import { describeScheduler } from "./scheduler.ts";

describeWithEngine("slurmdbd", "Slurm with accounting", () => {
  describeScheduler("slurm, slurmdbd", () => slurmHarness({ accounting: true }));
});
