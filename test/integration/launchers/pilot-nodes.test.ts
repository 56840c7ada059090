/** Attempts side by side on the nodes of an allocation, and what can befall those. */
import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/common/fault.ts";
import type { Host } from "../../../src/hosts/types.ts";
import type { AttemptRef } from "../../../src/launchers/types.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { listProcesses } from "../../helpers/processes.ts";
import { waitFor } from "../../helpers/wait.ts";
import { launchOne, makePlan, readOut, statusNow, stopped, untilState } from "./attempts.ts";
import { ends, kill, node, once, processes, running, starts, withFiles } from "./pilot-attempts.ts";
import { type PilotHarness, pilotHarness } from "./pilot-harness.ts";

failOnLeakedProcesses();

describe("an attempt on several nodes", () => {
  const starter = ["/bin/sh", "-c", 'SLURMD_NODENAME=n1 "$@" & SLURMD_NODENAME=n2 "$@" & wait', "starter"];
  const wide = { nodes: 2, ranks_per_node: 1, threads_per_rank: 1, gpus: 0 };

  async function launchWide(harness: PilotHarness, script: string): Promise<AttemptRef> {
    const program = join(harness.root, "starter");
    await writeFile(program, '#!/bin/sh\nshift 3\nexec sh -c "$1"\n', { mode: 0o700 });
    const plan = await makePlan(harness.root, "", { resources: wide });
    return launchOne(harness.launcher, { ...plan, argv: [program, script], starter: "srun" });
  }

  it("has room on all of them, beside others, is told which, and gives it back", async () => {
    await using harness = await pilotHarness({ node, nodes: 2, starter });
    const small = await running(harness, "sleep 60");
    const plan = await makePlan(harness.root, "", { resources: wide });
    const ref = await launchOne(harness.launcher, {
      ...plan,
      argv: ["/bin/echo"],
      starter: "srun",
    });
    expect(await ends(harness.launcher, ref)).toMatchObject({ cause: "exit", exit_code: 0 });
    expect(await readOut(plan)).toMatch(/^--overlap --whole --nodelist=n[12],n[12]\n$/);
    // Three cores are free again: not more, and not less.
    const others = [];
    for (let count = 0; count < 3; count++) others.push(await running(harness, "sleep 60"));
    const none = await launchOne(harness.launcher, await makePlan(harness.root, "sleep 60"));
    expect((await statusNow(harness.launcher, none)).state).toBe("queued");
    await Promise.all([small, none, ...others].map((one) => stopped(harness.launcher, one)));
  });

  it("is over when nothing that bears its token is left on any of them", async () => {
    await using harness = await pilotHarness({ node, nodes: 2, starter });
    const ref = await launchWide(harness, "sleep 60");
    await untilState(harness.launcher, ref, "running");
    // As a starter's daemon does, which is no child of the attempt.
    const rank = spawn("/bin/sleep", ["60"], { env: { SITEAGENT_ATTEMPT_TOKEN: ref.token }, stdio: "ignore" });
    const other = spawn("/bin/sleep", ["60"], { env: { SITEAGENT_ATTEMPT_TOKEN: `${ref.token}0` }, stdio: "ignore" });
    await stopped(harness.launcher, ref);
    await waitFor(() => rank.signalCode === "SIGKILL", { what: "the word that its rank was killed" });
    expect(other.signalCode).toBeNull();
    other.kill();
  });

  it("does not begin where room for it on the others may not be held, and runs elsewhere", async () => {
    let refusals = 0;
    const around = (host: Host): Host =>
      withFiles(host, (name, [path, content]) => {
        const isHold = String(path).includes("/inbox/") && String(content).startsWith("hold ");
        if (refusals > 0 || name !== "write" || !isHold) return;
        refusals++;
        throw new Fault("UNREACHABLE", "the file system gives no answer");
      });
    await using harness = await pilotHarness({ node, nodes: 2, starter, idleMs: 1_000 }, around);
    const ref = await launchWide(harness, `${once}echo $TEST_ID`);
    expect(await ends(harness.launcher, ref)).toMatchObject({ cause: "exit", exit_code: 0 });
    expect([refusals, await starts(ref), await readOut(ref)]).toEqual([1, 1, "101\n"]);
  });

  it("waits until enough nodes of one allocation are free, and an agent that starts anew holds them still", async () => {
    await using harness = await pilotHarness({ node: { ...node, cores: 1 }, nodes: 2, starter });
    const small = await running(harness, "sleep 60");
    const ref = await launchWide(harness, "sleep 60");
    expect((await statusNow(harness.launcher, ref)).state).toBe("queued");
    await stopped(harness.launcher, small);
    await untilState(harness.launcher, ref, "running");
    const anew = harness.reopen();
    await untilState(anew, ref, "running");
    const other = await launchOne(anew, await makePlan(harness.root, "sleep 60"));
    expect((await statusNow(anew, other)).state).toBe("queued");
    await stopped(anew, ref);
    await untilState(anew, other, "running");
    await stopped(anew, other);
  });
});

describe("on a node", () => {
  it("attempts have GPUs of their own, and wait for them", async () => {
    await using harness = await pilotHarness({ node: { ...node, cores: 8, gpuIds: ["0", "1"] } });
    const gpu = { resources: { nodes: 1, ranks_per_node: 1, threads_per_rank: 1, gpus: 1 } };
    const script = "echo $CUDA_VISIBLE_DEVICES/$SITEAGENT_GPU_IDS; sleep 60";
    const [a, b] = [await running(harness, script, gpu), await running(harness, script, gpu)];
    const third = await launchOne(harness.launcher, await makePlan(harness.root, script, gpu));
    const none = await running(harness, script);
    await waitFor(async () => (await readOut(none)).includes("/"), { what: "output" });
    expect([await readOut(a), await readOut(b)].toSorted()).toEqual(["0/0\n", "1/1\n"]);
    expect(await readOut(none)).toBe("/\n");
    expect((await statusNow(harness.launcher, third)).state).toBe("queued");
    await stopped(harness.launcher, a);
    await untilState(harness.launcher, third, "running");
    await Promise.all([b, third, none].map((ref) => stopped(harness.launcher, ref)));
  });

  it("attempts see what the site's lines left, under their own environment", async () => {
    await using harness = await pilotHarness({ node, preamble: ["export MODULE=loaded", "PATH=/opt/module:$PATH"] });
    const plan = await makePlan(harness.root, "echo $MODULE $PATH");
    await ends(harness.launcher, await launchOne(harness.launcher, plan));
    expect(await readOut(plan)).toBe("loaded /opt/module:/usr/local/bin:/usr/bin:/bin\n");
  });

  it("D2: attempts end with their node agent when that is killed, as no try", async () => {
    await using harness = await pilotHarness({ node });
    const refs = [await running(harness, `${once}sleep 60`), await running(harness, `${once}setsid sleep 61 & wait`)];
    kill(processes(harness, "node.pl"));
    for (const ref of refs) {
      expect(await ends(harness.launcher, ref)).toMatchObject({ cause: "infrastructure" });
      expect(await starts(ref)).toBe(1);
    }
  });

  it("attempts end with the process that forks recorders, as no try", async () => {
    await using harness = await pilotHarness({ node });
    const ref = await running(harness, `${once}sleep 60`);
    kill(
      processes(harness, "--serve").filter(({ parent }) =>
        processes(harness, "node.pl").some(({ pid }) => pid === parent),
      ),
    );
    expect(await ends(harness.launcher, ref)).toMatchObject({ cause: "infrastructure" });
  });

  it("an attempt whose recorder is killed leaves nothing behind, and the others go on", async () => {
    await using harness = await pilotHarness({ node });
    const other = await running(harness, "sleep 60");
    const ref = await running(harness, "sleep 4242 & setsid sleep 4243 & wait");
    kill(processes(harness, ref.directory).filter(({ command }) => command.includes("recorder.pl")));
    const status = await untilState(harness.launcher, ref, "ended");
    expect(status).toMatchObject({ end: { cause: "status-lost" }, remaining: [] });
    expect(listProcesses().filter(({ command }) => /^sleep 424[23]/.test(command))).toEqual([]);
    expect((await statusNow(harness.launcher, other)).state).toBe("running");
    await stopped(harness.launcher, other);
  });

  it("one that waits for its turn is stopped without ever having begun", async () => {
    await using harness = await pilotHarness({ node });
    const busy = [await running(harness, "sleep 60"), await running(harness, "sleep 60")];
    const ref = await launchOne(harness.launcher, await makePlan(harness.root, once));
    expect(await stopped(harness.launcher, ref)).toEqual({ state: "gone", tier: "never-started" });
    await Promise.all(busy.map((one) => stopped(harness.launcher, one)));
    expect(await starts(ref)).toBe(0);
    expect(await statusNow(harness.reopen(), ref)).toEqual({ state: "absent" });
  });
});
