/** No attempt is lost and none runs twice, whatever is killed on the nodes of allocations. */
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { AttemptPlan } from "../../../src/launchers/types.ts";
import { fuzz } from "../../helpers/fuzz.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { killIfThere, listProcesses } from "../../helpers/processes.ts";
import { context, launchOne, makePlan, stopped, untilState } from "./attempts.ts";
import { pilotHarness } from "./pilot-harness.ts";

failOnLeakedProcesses();

const kills = fuzz(8).numRuns ?? 8;
const jobs = kills * 6;

it(
  "jobs under random kills of nodes, recorders and agents end well, each attempt begun at most once and one at a time",
  async () => {
    const elastic = { min: 0, max: 3, backlog: 1, waitMs: 0 };
    const node = { cores: 3, memoryBytes: undefined, gpuIds: [], gpuVendor: "nvidia" } as const;
    await using harness = await pilotHarness({ node, elastic });
    const books = join(harness.root, "books");
    await mkdir(books);
    let launcher = harness.launcher;
    let over = false;

    /** Its attempts one after the other, until one ends well; each names itself when it begins, and whoever still runs then. */
    async function job(number: number): Promise<number> {
      for (let attempt = 1; ; attempt++) {
        const plan = await planOf(number, attempt);
        await launchOne(launcher, plan);
        const end = await endOf(plan);
        if (end.cause === "exit" && end.exit_code === 0) return attempt;
        expect(["infrastructure", "status-lost"]).toContain(end.cause);
      }
    }

    async function planOf(number: number, attempt: number): Promise<AttemptPlan> {
      const name = join(books, `${number}-${attempt}`);
      const before = join(books, `${number}-${attempt - 1}.pid`);
      // What has ended and waits to be reaped by a busy parent runs no more.
      const script = [
        `mkdir ${name} || mkdir ${name}-twice`,
        `if [ -e ${before} ]; then read -r pid <${before}; grep -Hv '^State:[[:space:]]*[ZX]' /proc/$pid/status >${name}-beside 2>&1; fi`,
        `grep -q 'State:' ${name}-beside 2>/dev/null || rm -f ${name}-beside`,
        `echo $$ >${name}.pid`,
        "sleep 0.4",
      ].join("\n");
      return await makePlan(harness.root, script);
    }

    /** As the agent follows it: launched again when it is proven that it never began. */
    async function endOf(
      plan: AttemptPlan,
    ): Promise<{ readonly cause: string; readonly exit_code?: number | undefined }> {
      const deadline = performance.now() + 60_000;
      while (performance.now() < deadline) {
        const [status] = await launcher.statuses([plan], context);
        if (status?.state === "ended") return status.end;
        if (status?.state === "absent") await launchOne(launcher, plan);
        await context.clock.sleep(50);
      }
      throw new Error(`no end of ${plan.directory}`);
    }

    async function havoc(): Promise<void> {
      for (let count = 0; count < kills && !over; count++) {
        await context.clock.sleep(300 + Math.random() * 500);
        const words = ["node.pl", "recorder.pl", "--serve", "/attempt", "agent"] as const;
        const word = words[count % words.length] ?? "agent";
        if (word === "agent") {
          const before = launcher;
          launcher = harness.reopen();
          await before[Symbol.asyncDispose]();
          continue;
        }
        const found = listProcesses().filter(({ command }) => command.includes(harness.root) && command.includes(word));
        const victim = found[Math.floor(Math.random() * found.length)];
        if (victim) killIfThere(victim.pid);
      }
    }

    const done = Promise.all(Array.from({ length: jobs }, (_, number) => job(number)));
    const disorder = havoc();
    const attempts = await done.finally(() => (over = true));
    await disorder;
    const names = await readdir(books);
    const wrong = names.filter((name) => /twice|beside/.test(name));
    const told = wrong.map(async (name) => `${name}: ${await readFile(join(books, name), "utf8").catch(() => "")}`);
    expect(await Promise.all(told)).toEqual([]);
    expect(attempts).toHaveLength(jobs);
  },
  Math.max(120_000, kills * 5_000),
);

it("an attempt that is stopped while its node is killed is gone for good", async () => {
  await using harness = await pilotHarness();
  const ref = await launchOne(harness.launcher, await makePlan(harness.root, "sleep 60"));
  await untilState(harness.launcher, ref, "running");
  await harness.launcher.stop([ref], { graceMs: 300, reason: "test" }, context);
  for (const { pid, command } of listProcesses())
    if (command.includes(harness.root) && command.includes("node.pl")) killIfThere(pid);
  await stopped(harness.launcher, ref);
  expect((await untilState(harness.launcher, ref, "ended")).remaining).toEqual([]);
});
