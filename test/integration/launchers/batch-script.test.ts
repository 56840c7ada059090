/** What a job script of the launcher `batch` does around the command. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { launchOne, makePlan, readOut, untilState } from "./attempts.ts";
import { batchHarness, jobOf } from "./batch-harness.ts";

failOnLeakedProcesses();

describe("the job script", () => {
  test("the site's lines shape the environment of the command, and only they", async () => {
    await using site = await batchHarness({
      preamble: ["PATH=/opt/module/bin:$PATH", "export LICENSE=here", "hidden=not-exported", "export LC_ALL=C.UTF-8"],
    });
    const it = await makePlan(site.root, 'echo "$PATH|$LICENSE|${hidden-none}|$LC_ALL|${TEST_ID:+id}|$0"');
    const ref = await launchOne(site.launcher, it);
    await untilState(site.launcher, ref, "ended");
    expect(await readOut(it)).toBe("/opt/module/bin:/usr/local/bin:/usr/bin:/bin|here|none|C.UTF-8|id|sh\n");
  });

  test("lines that fail are told: nothing was started", async () => {
    await using site = await batchHarness({ preamble: ["module load nonesuch || exit 78"] });
    const ref = await launchOne(site.launcher, await makePlan(site.root, "exit 0"));
    const { end } = await untilState(site.launcher, ref, "ended");
    expect(end).toMatchObject({ cause: "launch", exit_code: 78 });
    expect(end.message).toContain("module");
  });

  test("accounting shows the command's exit code, but not one in which the scheduler reads an order", async () => {
    await using site = await batchHarness({ reservedCodes: [99, 100] });
    for (const [code, shown] of [
      [7, 7],
      [99, 1],
      [100, 1],
      [0, 0],
    ] as const) {
      const it = await makePlan(site.root, `exit ${code}`);
      const ref = await launchOne(site.launcher, it);
      expect((await untilState(site.launcher, ref, "ended")).end.exit_code).toBe(code);
      const [status] = await site.scheduler.statuses([jobOf(ref)]);
      expect(status).toMatchObject({ verdict: { exitCode: shown } });
    }
  });

  test("asks for the attempt's limit, its grace and a margin", async () => {
    await using site = await batchHarness();
    const it = await makePlan(site.root, "exit 0", { limitMs: 90_500, graceMs: 500 });
    await untilState(site.launcher, await launchOne(site.launcher, it), "ended");
    const request = site.scheduler.requests.find(({ token }) => token === it.token);
    expect(request?.walltimeS).toBe(151);
  });

  test("a work directory with odd characters", async () => {
    await using site = await batchHarness();
    const it = await makePlan(site.root, "pwd");
    const odd = join(site.root, "a 'b' $(c) \"d\"");
    await mkdir(odd);
    const ref = await launchOne(site.launcher, { ...it, workDirectory: odd });
    await untilState(site.launcher, ref, "ended");
    expect(await readOut(it)).toBe(`${odd}\n`);
  });
});
