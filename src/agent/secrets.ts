import { chmod, rm } from "node:fs/promises";
import { join } from "node:path";
import { durableReplace } from "../common/files.ts";
import { readSecretFile } from "../common/secret-file.ts";
import { jobDirectories } from "./directories.ts";
import type { HeldJob } from "./held-job.ts";

/** Hands the app's secrets to the job as 0600 files at the paths that `planAttempt` fills in. Never in argv, environment, journal or report. @throws Fault SECRET. */
export async function secretFiles(job: HeldJob): Promise<void> {
  for (const { name, file } of secretsOf(job)) {
    const path = join(jobDirectories(job).secrets, name);
    await durableReplace(path, await readSecretFile({ path: file, label: file }), 0o600);
    await chmod(path, 0o600);
  }
}

/** A job that is over needs no secrets any more, however long its directory is kept. Repeatable. */
export async function dropSecrets(job: HeldJob): Promise<void> {
  if (secretsOf(job).length === 0) return;
  await rm(jobDirectories(job).secrets, { recursive: true, force: true });
}

function secretsOf(job: HeldJob): readonly { readonly name: string; readonly file: string }[] {
  return Object.entries(job.app.parameters).flatMap(([name, spec]) =>
    spec.type === "secret" ? [{ name, file: spec.file }] : [],
  );
}
