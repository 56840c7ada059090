/** Attempts as the agent plans them from an app, in directories as it makes them. */
import { mkdir } from "node:fs/promises";
import type { z } from "zod";
import { newToken } from "../../../src/common/token.ts";
import type { appSchema } from "../../../src/jobs/app.ts";
import { directoriesOf, planAttempt, type PlanInput } from "../../../src/launchers/command.ts";
import type { AttemptPlan } from "../../../src/launchers/types.ts";
import { appOf } from "../../unit/jobs/builders.ts";
import { planInputOf } from "../../unit/launchers/builders.ts";

/** The plan of an app's first attempt below `root`; its directories are there. */
export async function planApp(
  root: string,
  app: Partial<z.input<typeof appSchema>>,
  change: Partial<PlanInput> = {},
): Promise<AttemptPlan> {
  const jobToken = newToken();
  const directories = directoriesOf(root, jobToken, 1);
  for (const directory of Object.values(directories)) await mkdir(directory, { recursive: true, mode: 0o700 });
  return planAttempt(
    planInputOf({
      app: appOf({ grace: "500ms", ...app }),
      settings: { path: "/usr/local/bin:/usr/bin:/bin", environment: [] },
      directories,
      jobToken,
      token: newToken(),
      attempt: 1,
      ...change,
    }),
  );
}
