import { expect, test } from "vitest";
import { faults } from "../../../src/common/faults.ts";
import type { SyncRequest } from "../../../src/wire/agent-api.ts";
import { runHistory } from "../../simulation/history.ts";
import type { World } from "../../simulation/world.ts";

const seeds = Array.from({ length: 30 }, (_, index) => index + 1);

/** Plays calm histories in which only this happens, looks that the books balance in all, and gives what happened. */
async function playAll(prepare: (world: World) => void): Promise<string> {
  const traces: string[] = [];
  for (const seed of seeds) {
    const { violations, trace } = await runHistory(seed, { calm: true, traced: true, prepare });
    expect(violations, `seed ${seed}:\n${trace.join("\n")}`).toStrictEqual([]);
    traces.push(trace.join("\n"));
  }
  return traces.join("\n");
}

test(
  "C1: with a full disk the agent claims nothing and says so to central; when there is room it goes on alone",
  { timeout: 60_000 },
  async () => {
    const asked: { readonly full: boolean; readonly afterMs: number; readonly request: SyncRequest }[] = [];
    const story = await playAll(({ time, disk, hub }) => {
      let since = 0;
      time.after(3_000, () => ([disk.full, since] = [true, time.now]));
      time.after(303_000, () => ([disk.full, since] = [false, time.now]));
      time.after(100_000, () => hub.submit("job-late", "plain-1.0.0"));
      const synchronize = hub.synchronize.bind(hub);
      hub.synchronize = (request) => {
        asked.push({ full: disk.full, afterMs: time.now - since, request });
        return synchronize(request);
      };
    });
    // It looks every 30 s, and a held call may last 50 s.
    const whileFull = asked.filter(({ full, afterMs }) => full && afterMs > 85_000);
    expect(whileFull.length).toBeGreaterThan(0);
    for (const { request } of whileFull) {
      expect(request.free).toStrictEqual([]);
      expect(JSON.stringify(request.health?.["not_accepting"])).toMatch(/free|journal/);
      expect(JSON.stringify(request.health?.["problems"])).toMatch(/free|full/);
    }
    expect(story).not.toContain("ended: failed");
    expect(story).toContain("job-late has ended at central");
  },
);

test(
  "C4: a failed sync ends the agent with the fault of exit code 74; the next start reads what is there",
  { timeout: 60_000 },
  async () => {
    const story = await playAll(({ time, disk }) => void time.after(4_000, () => (disk.failingSyncs = 1)));
    expect(story).toMatch(/agent process 1 ended: failed \(cannot write '.*EIO/);
    expect(story).toContain("agent process 2 starts");
    expect(faults.JOURNAL.exit).toBe(74);
  },
);

test(
  "C5: with a read-only state directory starts fail with the reason and attempts live on; later they are adopted",
  { timeout: 60_000 },
  async () => {
    const story = await playAll((world) => {
      world.time.after(5_000, () => {
        world.disk.readOnly = true;
        world.kill("as its disk becomes read-only");
      });
      world.time.after(40_000, () => (world.disk.readOnly = false));
    });
    expect(story).toContain("the start failed: cannot open the journal: EROFS");
  },
);
