import { execFileSync } from "node:child_process";
import { cpus, release, totalmem } from "node:os";
import { repository } from "../../scripts/lib/run.ts";

/** The machine and the versions in one line, as figures need them; no name or address of the machine. */
export function machine(): string {
  const [first] = cpus();
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: repository, encoding: "utf8" }).trim();
  const memoryGiB = Math.round(totalmem() / 2 ** 30);
  const date = new Date().toISOString().slice(0, 10);
  return `${date}, commit ${commit}, ${cpus().length} × ${first?.model.trim() ?? "unknown"}, ${memoryGiB} GiB, Linux ${release()}, Node ${process.versions.node}`;
}
