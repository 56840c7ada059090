import type { Step } from "../../jobs/decide.ts";
import type { JobWork } from "../driver.ts";
import { transition } from "../transition.ts";
import { outputsOf } from "./outputs.ts";
import { follow } from "./follow.ts";
import { runHookStep } from "./hook-step.ts";
import { launch } from "./launch.ts";
import { settle } from "./settle.ts";
import { stageIn } from "./stage-in.ts";
import { archive, stageOut } from "./stage-out.ts";
import { stop } from "./stop.ts";

/** What is done for each step. Each may be begun again after a crash at any point of it. */
export const steps: Record<Exclude<Step, "none">, (work: JobWork) => Promise<void>> = {
  // The hub keeps jobs with open parents; an agent never gets one.
  wait_parents: async (work) => {
    await transition(work.core, work.id, { type: "ready" });
  },
  stage_in: stageIn,
  preprocess: (work) => runHookStep(work, "preprocess"),
  launch,
  follow,
  stop,
  handle_error: (work) => runHookStep(work, "handle_error"),
  handle_timeout: (work) => runHookStep(work, "handle_timeout"),
  settle,
  postprocess: (work) => runHookStep(work, "postprocess"),
  stage_out: stageOut,
  finish: async (work) => {
    await transition(
      work.core,
      work.id,
      { type: "finished" },
      { outputs: outputsOf(work.job(), work.core.parts.site.agent.report) },
    );
  },
  archive,
};
