import { readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { killCases } from "../helpers/kill-cases.ts";
import { furnish, killApps, submit } from "../helpers/kill-scenarios.ts";
import { TestSite } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";
import { Control } from "../integration/agent/control.ts";

const kills = 8;
/** What a job adds to the journal, and what a start adds: measured about 19 KiB together. */
const bytesPerKill = 64 * 1024;
const passed = killCases.filter(
  ({ victim, dialect, scenario }) => victim === "agent" && dialect === "hub" && scenario === "work",
);
/** Spread over the whole way of a job. */
const points = Array.from({ length: kills }, (_, n) => passed[Math.floor((n * passed.length) / kills)]?.point);

/** What lies in the agent's directories, without the numbers in the names. */
async function belongings(site: TestSite): Promise<readonly string[]> {
  const lists = await Promise.all(["state", "run"].map((name) => readdir(join(site.root, name), { recursive: true })));
  return lists
    .flat()
    .map((name) => name.replace(/\d+/g, "N"))
    .toSorted();
}

/** Bytes that the journal has on disk. */
async function journalBytes(site: TestSite): Promise<number> {
  const folder = join(site.root, "state", "journal");
  const sizes = (await readdir(folder)).map(async (name) => (await stat(join(folder, name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

it(
  "B13: eight kills of the agent in a row: no growth, no duplicates, jobs unharmed",
  { timeout: 300_000 },
  async () => {
    await using site = await TestSite.start({ apps: killApps, armable: true, slots: 8 });
    await furnish(site);
    await site.startAgent();
    const stage = { site, dialect: "hub", control: new Control(site) } as const;
    const held = await submit(stage, "held");
    await site.waitFor(held, (job) => job.state === "RUNNING", "RUNNING");
    const go = join(await site.workDirectory(), "go");
    const ids = [held];
    const seen: { readonly names: readonly string[]; readonly bytes: number }[] = [];
    for (const point of points) {
      if (point === undefined) throw new Error("too few points");
      await site.arm(point, "kill");
      const id = await submit(stage, "work");
      ids.push(id);
      await waitFor(() => site.reached(point), { what: `a passage of ${point}`, timeoutMs: 60_000 });
      await site.agent?.finished;
      await site.startAgent({ wait: false });
      expect(await site.ended(id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
      await stage.control.until("everything reported", ({ outbox }) => outbox.unsent === 0);
      // The note of what a job might leave at its destinations goes when it is over, beside its last report.
      const isNoted = async (): Promise<boolean> => (await belongings(site)).some((name) => /^leftovers\//.test(name));
      await waitFor(async () => !(await isNoted()), { what: "the end of the job's notes" });
      seen.push({ names: await belongings(site), bytes: await journalBytes(site) });
    }
    await writeFile(go, "");
    expect(await site.ended(held, 60_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(await site.imbalances(ids)).toEqual([]);
    expect((await site.starts()).size).toBe(ids.length);
    for (const { names } of seen) expect(names).toEqual(seen[0]?.names);
    expect((seen.at(-1)?.bytes ?? 0) - (seen[0]?.bytes ?? 0)).toBeLessThan(kills * bytesPerKill);
  },
);
