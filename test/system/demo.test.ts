import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { cleanEnvironment, repository, runCli } from "../helpers/cli.ts";
import { describeWithEngine } from "../helpers/engines/index.ts";
import { isAlive } from "../helpers/processes.ts";
import { Program } from "../helpers/program.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";
import { waitFor } from "../helpers/wait.ts";

const delivered = ["flaky", "lambda_1", "lambda_2", "slow"];

it("ends with 0 after every job ended as it should, and leaves the results", { timeout: 120_000 }, async () => {
  await using directory = await temporaryDirectory("sa-demo-");
  const done = await runCli(["demo", "--directory", directory.path], { timeoutMs: 110_000 });
  expect(done.stdout).toContain("All jobs ended as they should");
  expect(done).toMatchObject({ code: 0, stderr: "" });
  expect((await readdir(join(directory.path, "delivered"))).toSorted()).toEqual(delivered);
  // Numbers known from the genome itself and from counting the reads by other means (examples/lambda/README.md).
  for (const sample of delivered) {
    const report = JSON.parse(
      await readFile(join(directory.path, "delivered", sample, "report.json"), "utf8"),
    ) as Record<string, { [name: string]: unknown }>;
    expect(report["genome"]).toMatchObject({ length: 48_502, gc: 0.498577 });
    expect(report["reads"]).toMatchObject({ reads: 3000 });
    expect(report["placement"]).toMatchObject({ placed: sample === "lambda_1" || sample === "flaky" ? 2167 : 2172 });
  }
  // Two jobs on the same reads, one of which failed before: same bytes but for the name.
  const bytes = await Promise.all(
    ["lambda_1", "flaky"].map((sample) => readFile(join(directory.path, "delivered", sample, "coverage.tsv"))),
  );
  const digests = bytes.map((one) => createHash("sha256").update(one).digest("hex"));
  expect(digests[0]).toBe(digests[1]);
});

it("with --keep leaves hub and agent running, and says how to end them", { timeout: 120_000 }, async () => {
  await using directory = await temporaryDirectory("sa-demo-");
  const done = await runCli(["demo", "--keep", "--directory", directory.path], { timeoutMs: 110_000 });
  const pids = (/To end both: kill (\d+) (\d+)/.exec(done.stdout) ?? []).slice(1).map(Number);
  try {
    expect(done.code).toBe(0);
    expect(pids.map(isAlive)).toEqual([true, true]);
    const status = await runCli(["status", "--config", join(directory.path, "site.yaml"), "-o", "json"]);
    expect(JSON.parse(status.stdout)).toMatchObject({ mode: "running", api: { reachable: true, dialect: "hub" } });
  } finally {
    for (const pid of pids) process.kill(pid, "SIGTERM");
    await waitFor(() => !pids.some(isAlive), { what: "the end of hub and agent" });
  }
});

it("refuses a folder that no demo made, and touches nothing there", async () => {
  await using directory = await temporaryDirectory("sa-demo-");
  await writeFile(join(directory.path, "thesis.txt"), "years of work");
  const refused = await runCli(["demo", "--directory", directory.path]);
  expect(refused.code).toBe(65);
  expect(refused.stderr).toContain(`'${directory.path}' is not empty`);
  expect(await readFile(join(directory.path, "thesis.txt"), "utf8")).toBe("years of work");
});

describeWithEngine(["slurm", "sshd"], "npm run demo -- --slurm", () => {
  it(
    "runs the same jobs on a Slurm of its own, also packed and by SSH, and ends that, too",
    { timeout: 240_000 },
    async () => {
      await using directory = await temporaryDirectory("sa-demo-");
      const ways = ["--on", "pilot", "--on", "batch-ssh"];
      const args = [join(repository, "scripts", "demo.ts"), "--slurm", ...ways, "--directory", directory.join("scene")];
      const demo = await Program.start(process.execPath, args, { env: cleanEnvironment(directory.path) });
      const done = await demo.result(230_000);
      expect(done.stdout).toContain("A private Slurm");
      expect(done.stdout.match(/All jobs ended as they should/gm)).toHaveLength(2);
      expect(done.code).toBe(0);
      expect((await readdir(directory.join("scene", "delivered"))).toSorted()).toEqual(delivered);
      const site = await readFile(directory.join("scene", "site.yaml"), "utf8");
      expect(site).toContain("launcher: batch");
      expect(site).toContain("known_hosts:");
    },
  );
});
