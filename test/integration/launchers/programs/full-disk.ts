/** Run inside a mount name space of its own: fills the small file system on which an attempt's directory lies, and frees it after the attempt. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseIdentity } from "../../../../src/runner/identity.ts";
import { isAlive } from "../../../helpers/processes.ts";
import { waitFor } from "../../../helpers/wait.ts";
import { launchOne, makePlan, statusNow, untilState } from "../attempts.ts";
import { localHarness } from "../local-harness.ts";

const [mountPoint = "", tier] = process.argv.slice(2);
const containment = tier === "cgroup" || tier === "subreaper" || tier === "group" ? tier : "auto";
mkdirSync(mountPoint);
execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", mountPoint]);
const filler = join(mountPoint, "filler");

await using harness = await localHarness({ containment });
const plan = await makePlan(mountPoint, "until [ -e go ]; do sleep 0.05; done; echo result > result.txt || exit 6");
const ref = await launchOne(harness.launcher, plan);
await untilState(harness.launcher, ref, "running");
const job = parseIdentity(readFileSync(join(plan.directory, "job"), "utf8"));
assert(job);
fill();
mkdirSync(join(plan.workDirectory, "go"));
await waitFor(() => !isAlive(job.pid), { what: "the end of the job" });
assert.equal((await statusNow(harness.reopen(), ref)).state, "running");
rmSync(filler);
const { end } = await untilState(harness.launcher, ref, "ended");
assert.equal(end.cause, "exit");
assert.equal(end.exit_code, 6);

function fill(): void {
  assert.throws(() => {
    for (;;) writeFileSync(filler, Buffer.alloc(1024), { flag: "a" });
  }, /ENOSPC/);
}
