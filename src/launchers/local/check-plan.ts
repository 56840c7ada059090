import { inFileThread } from "../../common/file-thread.ts";
import { planProblems, refuse } from "../refusal.ts";
import type { AttemptPlan, LaunchResult } from "../types.ts";
import type * as command from "./check-command.ts";

const commandProblem = inFileThread<typeof command.commandProblem>(
  import.meta.url,
  "./check-command",
  "commandProblem",
);

/** Why a plan can never be started on this machine, or undefined. All problems at once. */
export async function refusalOf(plan: AttemptPlan, pty: boolean): Promise<LaunchResult | undefined> {
  const problems = [...planProblems(plan)];
  if (plan.runtime === "pty" && !pty) problems.push("runtime 'pty' needs the package node-pty, which is not installed");
  if (problems.length > 0) return refuse("launch", problems.join("; "));
  const found = await commandProblem(plan.argv[0], plan.workDirectory, plan.environment["PATH"]);
  return found && refuse("launch", found.text, found.exitCode);
}
