import { describe, expect, test } from "vitest";
import { identityOf } from "../../../src/runner/identity.ts";
import { listProcesses, membersOf, type ProcessStat, readStat } from "../../../src/runner/processes.ts";

/** A process table as /proc would show it; numbers far beyond any real pid. */
function table(rows: readonly Partial<ProcessStat>[]): ReadonlyMap<number, ProcessStat> {
  const stats = rows.map((row) => ({ pid: 0, state: "S", parent: 1, group: 0, session: 0, startTicks: 1, ...row }));
  return new Map(stats.map((stat) => [stat.pid, stat]));
}

const base = 1_000_000_000;
const own = identityOf(process.pid);
if (!own) throw new Error("no identity of our own");
const recorder = { ...own, pid: base };
const job = { ...own, pid: base + 1 };

describe("members of an attempt", () => {
  const all = table([
    { pid: base, parent: 1, session: base },
    { pid: base + 1, parent: base, session: base + 1 },
    { pid: base + 2, parent: base + 1, session: base + 1 },
    { pid: base + 3, parent: base, session: base + 3 }, // left the session; its parent died and the recorder took it
    { pid: base + 4, parent: base + 3, session: base + 4 },
    { pid: base + 5, parent: 1, session: base + 1 }, // orphan that stayed in the session
    { pid: base + 6, parent: base + 1, session: base + 1, state: "Z" },
    { pid: base + 9, parent: 1, session: base + 9 }, // somebody else
  ]);

  test("are all that descend from the recorder, and the job's session; never the recorder, zombies or strangers", () => {
    const members = membersOf({ token: "none", recorder, job, jobAlive: true }, all);
    expect(members.map((stat) => stat.pid - base).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5]);
  });

  test("without a living recorder: the job, its descendants and its session", () => {
    const members = membersOf({ token: "none", recorder: undefined, job, jobAlive: true }, all);
    expect(members.map((stat) => stat.pid - base).toSorted((a, b) => a - b)).toEqual([1, 2, 5]);
  });

  test("the session of a dead job is not touched: its number may be another's by now", () => {
    expect(membersOf({ token: "none", recorder: undefined, job, jobAlive: false }, all)).toEqual([]);
  });
});

describe("the process table", () => {
  test("shows us", () => {
    expect(readStat(process.pid)).toMatchObject({ pid: process.pid, parent: process.ppid });
    expect(listProcesses().get(process.pid)?.startTicks).toBe(own.startTicks);
    expect(readStat(base)).toBeUndefined();
  });
});
