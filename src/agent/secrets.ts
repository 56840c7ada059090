import { chmod, readFile } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf, Fault } from "../common/fault.ts";
import { durableReplace } from "../common/files.ts";
import { jobDirectories } from "./directories.ts";
import type { HeldJob } from "./held-job.ts";

/** Hands the app's secrets to the job as 0600 files at the paths that `planAttempt` fills in. Never in argv, environment, journal or report. @throws Fault SECRET. */
export async function secretFiles(job: HeldJob): Promise<void> {
  for (const [name, spec] of Object.entries(job.app.parameters)) {
    if (spec.type !== "secret") continue;
    const path = join(jobDirectories(job).secrets, name);
    try {
      await durableReplace(path, await readFile(spec.file), 0o600);
      await chmod(path, 0o600);
    } catch (error) {
      throw new Fault(
        "SECRET",
        `the secret file '${spec.file}' of parameter '${name}' cannot be handed to the job (${errnoOf(error) ?? "unknown"})`,
        { cause: error },
      );
    }
  }
}
