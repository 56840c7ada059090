/** Submissions to a Slurm whose commands are scripts with the texts and exit codes of the real ones. */
import { describe, expect, it } from "vitest";
import { newToken } from "../../../src/common/token.ts";
import { token } from "../../helpers/slurm-answers.ts";
import { context } from "../launchers/attempts.ts";
import { FakeSlurm, hasty, job, request, row, wanted } from "./fake-slurm.ts";

const found = [
  { state: "found", jobs: [{ id: "12", origin: "blue", token, submittedAt: "2026-11-21T16:56:58.000Z" }] },
];

describe("submissions", () => {
  it("E1: one that runs out of time is unclear, and the job that was accepted is found by its token", async () => {
    await using fake = await FakeSlurm.make();
    const slurm = fake.scheduler();
    await slurm.probe(context);
    await fake.prints("squeue", { stdout: row() });
    await fake.does("sbatch", "sleep 600");
    const [result] = await slurm.submit([request(fake)], hasty);
    expect(result).toMatchObject({ state: "unclear", why: expect.stringContaining("time limit") });
    expect(await slurm.find(wanted, context)).toEqual(found);
  });

  it("E1: a controller that does not answer in time makes it unclear, too", async () => {
    await using fake = await FakeSlurm.make();
    const stderr = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n";
    await fake.prints("sbatch", { stderr, exitCode: 1 });
    const [result] = await fake.scheduler().submit([request(fake)], context);
    expect(result).toMatchObject({ state: "unclear", why: expect.stringContaining("Socket timed out") });
  });

  it("E2: an id beside a bad end is taken when the queue has it, and else it is unclear", async () => {
    await using fake = await FakeSlurm.make();
    await fake.prints("sbatch", { stdout: "12\n", stderr: "sbatch: error: a plugin failed\n", exitCode: 1 });
    const [without] = await fake.scheduler().submit([request(fake)], context);
    expect(without).toMatchObject({ state: "unclear", why: expect.stringContaining("a plugin failed") });
    await fake.prints("squeue", { stdout: row({ id: "13" }) });
    const [other] = await fake.scheduler().submit([request(fake)], context);
    expect(other).toMatchObject({ state: "submitted", job: { id: "13", token } });
  });

  it("E2: a warning beside the id is no failure", async () => {
    await using fake = await FakeSlurm.make();
    const stderr = "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n";
    await fake.prints("sbatch", { stdout: "12\n", stderr });
    const [result] = await fake.scheduler().submit([request(fake)], context);
    expect(result).toMatchObject({ state: "submitted", job: { id: "12", token } });
    expect(await fake.calls("sbatch")).toHaveLength(1);
  });

  it("E3: success without an id is unclear, and the job is found by its token", async () => {
    await using fake = await FakeSlurm.make();
    await fake.prints("sbatch", { stdout: "Welcome!\n" });
    const slurm = fake.scheduler();
    const [result] = await slurm.submit([request(fake)], context);
    expect(result).toMatchObject({ state: "unclear", why: expect.stringContaining("Welcome!") });
    await fake.prints("squeue", { stdout: row({ comment: "changed by a plugin" }) });
    expect(await slurm.find(wanted, context)).toEqual(found);
  });

  it("E16: limits wait, wrong requests fail, each in the scheduler's words", async () => {
    await using fake = await FakeSlurm.make();
    const slurm = fake.scheduler();
    const failed = "sbatch: error: Batch job submission failed:";
    const policy = `${failed} Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)\n`;
    await fake.prints("sbatch", { stderr: `sbatch: error: QOSMaxSubmitJobPerUserLimit\n${policy}`, exitCode: 1 });
    expect(await slurm.submit([request(fake)], context)).toMatchObject([
      { state: "limited", reason: expect.stringContaining("QOSMaxSubmitJobPerUserLimit") },
    ]);
    await fake.prints("sbatch", { stderr: `${failed} Resource temporarily unavailable\n`, exitCode: 1 });
    expect((await slurm.submit([request(fake)], context))[0]?.state).toBe("limited");
    await fake.prints("sbatch", { stderr: `${failed} Invalid qos specification\n`, exitCode: 1 });
    expect(await slurm.submit([request(fake)], context)).toMatchObject([
      { state: "rejected", reason: expect.stringContaining("Invalid qos specification") },
    ]);
  });

  it("E17: banners before and after the id do not hide it", async () => {
    await using fake = await FakeSlurm.make();
    const banner = `-----\n Welcome to 2 clusters of 2026\n-----\n`;
    await fake.prints("sbatch", { stdout: `${banner}12;blue\nYou have 3 messages.\n`, stderr: banner });
    const [result] = await fake.scheduler().submit([request(fake)], context);
    expect(result).toMatchObject({ state: "submitted", job: { id: "12", cluster: "blue" } });
  });

  it("E17: a banner that may be an id makes the queue decide", async () => {
    await using fake = await FakeSlurm.make();
    await fake.prints("sbatch", { stdout: "2026\n12\n" });
    await fake.prints("squeue", { stdout: row() });
    const [result] = await fake.scheduler().submit([request(fake)], context);
    expect(result).toMatchObject({ state: "submitted", job: { id: "12" } });
  });

  it("E20: nothing is submitted while authentication fails, and the cause is named", async () => {
    await using fake = await FakeSlurm.make();
    const stderr =
      "scontrol: error: Munge encode failed: Failed to access socket\nslurm_load_ctl_conf error: Protocol authentication error\n";
    await fake.prints("scontrol", { stderr, exitCode: 1 });
    const [result] = await fake.scheduler().submit([request(fake)], context);
    expect(result).toMatchObject({ state: "limited", reason: expect.stringContaining("authentication failed") });
    expect(await fake.calls("sbatch")).toEqual([]);
  });

  it("one that cannot be begun does not lose what was submitted before", async () => {
    await using fake = await FakeSlurm.make();
    await fake.does("sbatch", 'echo 12; rm "$d/bin/sbatch"');
    const requests = [request(fake), request(fake, { token: newToken() }), request(fake, { token: newToken() })];
    const results = await fake.scheduler().submit(requests, context);
    expect(results.map(({ state }) => state)).toEqual(["submitted", "limited", "limited"]);
  });

  it("pass the whole script on standard input, and nothing of a surrounding job or of the agent", async () => {
    await using fake = await FakeSlurm.make({ version: "22.05.8" });
    process.env["SBATCH_PARTITION"] = "of-the-agent";
    const slurm = fake.scheduler({ SLURM_CONF: "/etc/slurm/slurm.conf", SLURM_JOB_ID: "99", SQUEUE_FORMAT: "%i" });
    await fake.prints("sbatch", { stdout: "12\n" });
    await slurm.submit([request(fake)], context).finally(() => delete process.env["SBATCH_PARTITION"]);
    await slurm.statuses([job], context);
    expect(await fake.calls("sbatch")).toEqual(["--parsable --ignore-pbs --export=ALL"]);
    for (const command of ["sbatch", "squeue"] as const) {
      const environment = await fake.environmentOf(command);
      expect(environment).toContain("SLURM_CONF=/etc/slurm/slurm.conf\n");
      expect(environment).toContain("LC_ALL=C\n");
      expect(environment).not.toMatch(/SLURM_JOB_ID|SBATCH_|SQUEUE_|of-the-agent/);
    }
  });

  it("let nothing through to the job where the version can do that", async () => {
    await using fake = await FakeSlurm.make({ version: "23.02.3" });
    await fake.prints("sbatch", { stdout: "12\n" });
    await fake.scheduler().submit([request(fake)], context);
    expect(await fake.calls("sbatch")).toEqual(["--parsable --ignore-pbs --export=NIL"]);
  });
});
