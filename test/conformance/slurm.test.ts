import { describeWithEngine } from "../helpers/engines/index.ts";
import { slurmHarness } from "../integration/schedulers/slurm-place.ts";
import { describeScheduler } from "./scheduler.ts";

const abilities = { arrays: true, hold: true, history: true };

describeWithEngine("slurm", "Slurm without accounting", () => {
  describeScheduler("slurm", () => slurmHarness({}), abilities);
});
