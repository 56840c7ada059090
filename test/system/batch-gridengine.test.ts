/** Whole installations on a real Grid Engine: what it reads into exit codes, and what its accounting does not say. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { describeWithEngine } from "../helpers/engines/index.ts";
import { GridEngineCell } from "../helpers/engines/gridengine-cell.ts";
import { TestSite, traced } from "../helpers/site.ts";

const apps = {
  good: {
    command: traced("echo said > out.txt; exit 0"),
    outputs: { out: { from: "out.txt", to: "$DELIVERED/{{token}}" } },
  },
  again: { command: traced("exit 99") },
  error: { command: traced("exit 100") },
  slow: { command: traced("sleep 300"), resources: { walltime: "1s" } },
  long: { command: traced("sleep 300") },
  wide: { command: traced("exit 0"), resources: { cores: 2 } },
};

describeWithEngine("gridengine", "jobs on a real Grid Engine", () => {
  let cell: GridEngineCell;
  beforeAll(async () => {
    cell = await GridEngineCell.start();
  }, 120_000);
  afterAll(async () => {
    await cell[Symbol.asyncDispose]();
  }, 60_000);

  async function gridEngineSite(): Promise<TestSite> {
    const { PATH, ...environment } = cell.environment;
    // Grid Engine kills the recorder with the command: there is no record to wait for.
    return await TestSite.start({
      apps,
      slots: 8,
      host: { path: PATH, environment },
      target: { launcher: "batch", scheduler: "sge", poll: "1s", settle: "3s", record_patience: "3s" },
    });
  }

  it("end as they should, and no exit code of a command is an order to Grid Engine", { timeout: 240_000 }, async () => {
    await using site = await gridEngineSite();
    await site.startAgent();
    const names = ["good", "again", "error", "slow", "long", "wide"];
    const [good, again, error, slow, long, wide] = await Promise.all(names.map((app) => site.submit(app)));
    if (!good || !again || !error || !slow || !long || !wide) throw new Error("no jobs");
    await site.waitFor(long.id, (job) => job.state === "RUNNING", "RUNNING", 60_000);
    await site.client.cancel(long.id);
    expect(await site.ended(good.id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(await site.ended(again.id, 60_000)).toMatchObject({
      status: "FAILED",
      end: { cause: "exit", exit_code: 99 },
    });
    expect(await site.ended(error.id, 60_000)).toMatchObject({
      status: "FAILED",
      end: { cause: "exit", exit_code: 100 },
    });
    expect(await site.ended(slow.id, 60_000)).toMatchObject({ status: "FAILED", end: { cause: "timeout" } });
    expect(await site.ended(long.id, 60_000)).toMatchObject({ status: "CANCELLED" });
    const refused = await site.ended(wide.id, 60_000);
    expect(refused).toMatchObject({ status: "FAILED", end: { cause: "launch" } });
    expect(JSON.stringify(refused)).toContain("need a parallel environment");
    expect(await site.imbalances([good, again, error, slow, long].map(({ id }) => id))).toEqual([]);
  });

  it("E14: deleted behind our back is never a success", { timeout: 240_000 }, async () => {
    await using site = await gridEngineSite();
    await site.startAgent();
    const { id } = await site.submit("long");
    await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING", 60_000);
    await cell.run("qdel", "-u", "*");
    expect(await site.ended(id, 90_000)).toMatchObject({
      status: "FAILED",
      end: { cause: expect.stringMatching(/^(?:cancelled|signal)$/) },
    });
  });
});
