import type { CommandSpec } from "../spec.ts";
import { agentCommands } from "./agent.ts";
import { jobCommands } from "./jobs.ts";
import { otherCommands } from "./other.ts";
import { startCommands } from "./start.ts";

/** Every command, in the order of the help. */
export const allCommands: readonly CommandSpec[] = [
  ...startCommands,
  ...jobCommands,
  ...agentCommands,
  ...otherCommands,
];
