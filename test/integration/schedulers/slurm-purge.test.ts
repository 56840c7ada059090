/** A Slurm without accounting that forgets ended jobs at once. */
import { expect, it } from "vitest";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { context } from "../launchers/attempts.ts";
import { requestFor, slurmOf, startCluster, submitted, until, workdirOf } from "./slurm-place.ts";

describeWithEngine("slurm", "Slurm that forgets ended jobs", () => {
  it("has no history, says so, and a job that is gone is absent, not ended", { timeout: 150_000 }, async () => {
    await using cluster = await startCluster({ nodes: 1, settings: { MinJobAge: "2" } });
    const slurm = slurmOf(cluster);
    expect(await slurm.probe(context)).toMatchObject({ ok: true, notes: [expect.stringContaining("exit records")] });
    expect(slurm.capabilities.history).toBe("none");
    const job = await submitted(slurm, requestFor(workdirOf(cluster), "exit 0"));
    await until(slurm, job, "absent");
    expect(await slurm.find([{ token: job.token, since: job.submittedAt }], context)).toEqual([{ state: "absent" }]);
    expect(await slurm.cancel([job], context)).toEqual([{ state: "over" }]);
  });
});
