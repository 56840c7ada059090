import { describeWithEngine } from "../helpers/engines/index.ts";
import { gridEngineHarness } from "../integration/schedulers/sge-place.ts";
import { describeScheduler } from "./scheduler.ts";

describeWithEngine("gridengine", "a real Grid Engine", () => {
  describeScheduler("sge", gridEngineHarness);
});
