import { describe, expect, test } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";
import { asFault } from "../../../src/common/fault.ts";
import type { Opened } from "../../../src/journal/generations.ts";
import { Writer } from "../../../src/journal/writer.ts";
import { journalDirectory as directory, SimulatedDisk } from "../../simulation/disk.ts";
import { Random } from "../../simulation/random.ts";
import { openWhole, scanWhole } from "../journal/whole.ts";

type Whole = Awaited<ReturnType<typeof openWhole>>;

const source = { directory, agentId: "agent-1", host: "here", bootId: "" };
const at = "2026-01-01T00:00:00.000Z";
const first = `${directory}/journal.00000001.log`;

/** Group n has n % 3 + 1 records, each with the number of its group. */
async function append(disk: SimulatedDisk, opened: Opened, groups: readonly number[]): Promise<Writer> {
  const writer = new Writer({ disk, clock: systemClock }, source, opened, 0);
  const commits = groups.map((n) => ({
    type: "commit" as const,
    id: n,
    at,
    records: Array.from({ length: (n % 3) + 1 }, () => ({ kind: "job.change", data: JSON.stringify({ n }) })),
    durability: "effect" as const,
    essential: true,
  }));
  await writer.append(commits);
  await writer.sync();
  return writer;
}

async function written(groups: readonly number[]): Promise<Buffer> {
  const disk = new SimulatedDisk(new Random(1));
  const writer = await append(disk, await openWhole(disk, source, at), groups);
  writer.close();
  return Buffer.from(disk.content(first) ?? Buffer.alloc(0));
}

/** A disk with this journal on it. */
function diskWith(content: Buffer): SimulatedDisk {
  const disk = new SimulatedDisk(new Random(1));
  disk.makeDirectory(directory);
  const file = disk.open(first, "w");
  disk.write(file, content, 0, 0);
  disk.sync(file);
  disk.close(file);
  for (const path of ["/", "/state", directory]) disk.syncDirectory(path);
  return disk;
}

const numbers = (opened: Whole): readonly unknown[] => opened.lines.map(({ data }) => data["n"]);

test(
  "B7: cut at each byte of its last group the journal is that of the group before, and goes on",
  { timeout: 60_000 },
  async () => {
    const [before, whole] = [await written([3, 4]), await written([3, 4, 5])];
    for (let length = before.length; length < whole.length; length++) {
      const disk = diskWith(whole.subarray(0, length));
      const opened = await openWhole(disk, source, at);
      expect(numbers(opened), `cut at ${length}`).toStrictEqual([3, 4, 4]);
      expect(opened.repair.kind).toBe(length === before.length ? "none" : "torn-tail");
      (await append(disk, opened, [6])).close();
      disk.losePower();
      expect(numbers(await openWhole(disk, source, at)), `cut at ${length}`).toStrictEqual([3, 4, 4, 6]);
    }
  },
);

describe("B8: killed at any change of the disk while a snapshot is written", () => {
  test.each(Array.from({ length: 12 }, (_, index) => index))("change %i, then without power", async (survived) => {
    const disk = diskWith(await written([1, 2]));
    const writer = await append(disk, await openWhole(disk, source, at), [3]);
    let changes = 0;
    const dying = new Proxy(disk, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== "function") return value;
        return (...parameters: unknown[]): unknown => {
          if (changes++ >= survived) throw new Error("killed");
          return Reflect.apply(value, target, parameters) as unknown;
        };
      },
    });
    writer.close();
    const last = await openWhole(disk, source, at);
    const second = new Writer({ disk: dying, clock: systemClock }, source, last, 0);
    await second.compact(JSON.stringify({ upTo: 3 }), at).catch(() => undefined);
    disk.losePower();
    const opened = await openWhole(disk, source, at);
    expect(opened.repair.kind).toBe("none");
    if (opened.snapshot === undefined) expect(numbers(opened)).toStrictEqual([1, 1, 2, 2, 2, 3]);
    else expect([opened.snapshot, numbers(opened)]).toStrictEqual([{ upTo: 3 }, []]);
  });
});

test("C4: records that a failed sync left in memory alone are on the disk before the next start goes on", async () => {
  const disk = diskWith(await written([1]));
  const opened = await openWhole(disk, source, at);
  disk.failingSyncs = 1;
  await expect(append(disk, opened, [2])).rejects.toThrow("EIO");
  disk.closeAll();
  const again = await openWhole(disk, source, at);
  expect(numbers(again)).toStrictEqual([1, 1, 2, 2, 2]);
  (await append(disk, again, [3])).close();
  disk.losePower();
  expect(numbers(await openWhole(disk, source, at))).toStrictEqual([1, 1, 2, 2, 2, 3]);
});

/** A byte changed, zeros, the end cut, a hole, or something put in between, anywhere. */
function damage(content: Buffer, random: Random): Buffer {
  const bytes = Buffer.from(content);
  const place = random.whole(0, bytes.length - 1);
  switch (random.whole(0, 4)) {
    case 0:
      bytes[place] = random.whole(0, 255);
      return bytes;
    case 1:
      return bytes.fill(0, place, Math.min(bytes.length, place + random.whole(1, 200)));
    case 2:
      return bytes.subarray(0, place);
    case 3:
      return Buffer.concat([
        bytes.subarray(0, place),
        bytes.subarray(Math.min(bytes.length, place + random.whole(1, 80))),
      ]);
    default:
      return Buffer.concat([bytes.subarray(0, place), Buffer.from("rubbish\n"), bytes.subarray(place)]);
  }
}

test(
  "C7: whatever is damaged, opening gives documented faults only, invents nothing and keeps every undamaged record",
  { timeout: 60_000 },
  async () => {
    const content = await written([1, 2, 3, 4, 5, 6, 7]);
    const lines = content.toString("latin1").split("\n");
    for (let seed = 1; seed <= 1_500; seed++) {
      const damaged = damage(content, new Random(seed));
      const disk = diskWith(damaged);
      let opened: Whole;
      try {
        opened = await openWhole(disk, source, at);
      } catch (error) {
        expect(asFault(error).code, `seed ${seed}`).toBe("JOURNAL_VERSION");
        continue;
      }
      const found = numbers(opened);
      const all = scanWhole(content).lines.map(({ data }) => data["n"]);
      expect(isPart(found, all), `seed ${seed}: ${JSON.stringify(found)}`).toBe(true);
      const left = new Set(damaged.toString("latin1").split("\n"));
      const intact = lines.slice(1, -1).filter((line) => left.has(line));
      // The last group may have lost its end: then none of it counts.
      const sure = intact.filter((line) => Number(/"n":(\d+)/.exec(line)?.[1]) < 7).length;
      expect(found.length, `seed ${seed}`).toBeGreaterThanOrEqual(
        Math.min(sure, all.filter((n) => Number(n) < lastWhole(intact)).length),
      );
      (await append(disk, opened, [9])).close();
      disk.losePower();
      expect(numbers(await openWhole(disk, source, at)), `seed ${seed}`).toStrictEqual([...found, 9]);
    }
  },
);

/** The group of the last intact line: those before it are whole or had a line damaged. */
function lastWhole(lines: readonly string[]): number {
  return Number(/"n":(\d+)/.exec(lines.at(-1) ?? "")?.[1] ?? 0);
}

/** In order, with things left out. */
function isPart(some: readonly unknown[], all: readonly unknown[]): boolean {
  let place = 0;
  return some.every((one) => {
    while (place < all.length && all[place] !== one) place++;
    return place++ < all.length;
  });
}

test("C5: a state directory that cannot be written is refused, and nothing is changed", async () => {
  const content = await written([1]);
  const disk = diskWith(content);
  disk.readOnly = true;
  await expect(openWhole(disk, source, at)).rejects.toThrow("EROFS");
  expect(disk.content(first)).toStrictEqual(content);
  disk.readOnly = false;
  expect(numbers(await openWhole(disk, source, at))).toStrictEqual([1, 1]);
});
