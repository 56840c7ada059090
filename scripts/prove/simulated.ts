import type { Phase, PhaseResult } from "./phases.ts";
import { simulate } from "./simulation.ts";

/** Histories of faults without processes, see `simulation.ts`. */
export const simulation: Phase = {
  name: "simulation",
  async run({ seed, histories, say }): Promise<PhaseResult> {
    const result = await simulate({ seed, histories, say });
    return {
      counts: [
        ["histories", result.histories],
        ["kills", result.kills],
        ["jobs", result.jobs],
      ],
      failures: result.failures.map((one) => `history ${one.seed}: ${one.violations.join("; ")}\n  ${one.replay}`),
    };
  },
};
