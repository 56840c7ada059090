import { spawn } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { orderOf } from "../../../src/launchers/pilot/handover.ts";
import { writeOrders } from "../../../src/launchers/pilot/orders.ts";
import { readEvidence } from "../../../src/runner/evidence.ts";
import { repository } from "../../helpers/cli.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import { makePlan } from "./attempts.ts";

failOnLeakedProcesses();

it("attempts end with their node agent, also where no scheduler ends what it leaves", async () => {
  await using directory = await temporaryDirectory("sa-leash-");
  const home = directory.join("nodes/0");
  await mkdir(directory.join("nodes"));
  const script = (name: string): string => join(repository, "src/runner", name);
  const settings = { allocation: directory.path, recorder: script("recorder.pl"), nodes: 1, cores: 1, memory: 0 };
  const times = { began: Math.floor(Date.now() / 1000), walltime: 600, margin: 5, idle: 0, beat: 1 };
  const words = Object.entries({ ...settings, ...times }).map(([key, value]) => `${key}=${value}`);
  const agent = spawn("/usr/bin/perl", [script("node.pl"), ...words], { stdio: "ignore" });
  const plan = await makePlan(directory.path, "setsid sleep 4244 & echo ready; sleep 4245");
  const order = orderOf(plan, { hosts: ["here"], gpus: [] }, { path: "", vendor: "nvidia", hasGpus: false });
  await waitFor(() => writeFile(join(home, "inbox/1.order"), writeOrders({ runs: [order] })).then(() => true), {
    what: "its inbox",
  });
  await waitFor(async () => (await readFile(join(plan.directory, "out"), "utf8")).includes("ready"), {
    what: "the attempt",
  });
  agent.kill("SIGKILL");
  const gone = async (): Promise<boolean> => {
    const { rc, gone: proven } = await readEvidence(plan.directory);
    return rc !== undefined && rc !== "damaged" && (rc.alone || proven);
  };
  await waitFor(gone, { what: "the end of all of it", timeoutMs: 20_000 });
  expect((await readEvidence(plan.directory)).rc).toMatchObject({ marker: "stop" });
  expect(await readFile(join(plan.directory, "lost"), "utf8")).toMatch(/^\d+\n$/);
});
