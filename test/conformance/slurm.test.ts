import { describeWithEngine } from "../helpers/engines/index.ts";
import { slurmHarness } from "../integration/schedulers/slurm-place.ts";
import { describeScheduler } from "./scheduler.ts";

describeWithEngine("slurm", "Slurm without accounting", () => {
  describeScheduler("slurm", () => slurmHarness({}));
});
