import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { durableReplace, removeUnfinished } from "../common/files.ts";

/** The recorder that this machine can run. */
export interface Recorder {
  readonly form: "perl" | "sh";
  /** What to spawn; the attempt directory is appended. */
  readonly command: readonly [string, ...string[]];
  /** What to spawn once for all attempts, if there is such a form: it forks their recorders (spawner.ts). */
  readonly serve?: readonly [string, ...string[]];
}

const scripts = ["recorder.sh", "recorder.pl"] as const;

/**
 * Copies both recorders into `<state>/recorder/<digest>/`, a name made of their content: attempts that run never depend on an installation
 * that an upgrade replaces, and a copy is never changed once written. (A link in each attempt directory would save nothing and fails
 * across file systems.)
 */
export async function installRecorders(stateDirectory: string): Promise<string> {
  const contents = scripts.map((name) => readFileSync(join(import.meta.dirname, name)));
  const hash = createHash("sha256");
  for (const content of contents) hash.update(content);
  const directory = join(stateDirectory, "recorder", hash.digest("hex").slice(0, 16));
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  for (const [index, name] of scripts.entries()) {
    const path = join(directory, name);
    const content = contents[index] ?? Buffer.alloc(0);
    if (!existsSync(path) || !readFileSync(path).equals(content)) await durableReplace(path, content, 0o500);
  }
  return directory;
}

/** What a runner that was killed while it installed them left; only for the one that listens. */
export async function sweepRecorders(directory: string): Promise<void> {
  for (const name of scripts) await removeUnfinished(join(directory, name));
}

/** The strongest form that works here: perl's when a trial shows that it can become a subreaper. */
export function chooseRecorder(directory: string, wish: "perl" | "sh" | "auto"): Recorder {
  const perl = join(directory, "recorder.pl");
  if (wish !== "sh") {
    for (const program of ["/usr/bin/perl", "/usr/local/bin/perl", "/bin/perl"]) {
      if (!existsSync(program)) continue;
      const trial = spawnSync(program, [perl, "--probe"], { encoding: "utf8", timeout: 10_000, env: {} });
      if (trial.status === 0 && trial.stdout.startsWith("ok 1"))
        return { form: "perl", command: [program, perl], serve: [program, perl, "--serve"] };
    }
  }
  return { form: "sh", command: ["/bin/sh", join(directory, "recorder.sh")] };
}
