/** Run inside a mount name space of its own: fills a small file system under a journal and frees it again. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isFault } from "../../../../src/common/fault.ts";
import type { Journal } from "../../../../src/journal/types.ts";
import { open } from "../open.ts";

const [mountPoint = ""] = process.argv.slice(2);
mkdirSync(mountPoint);
execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", mountPoint]);
const directory = join(mountPoint, "state");
const filler = join(mountPoint, "filler");
const { journal } = await open(directory, { ballastBytes: 128 * 1024, spaceCheckMs: 20 });
const record = (n: number) => ({ kind: "end", data: { n, text: "x".repeat(3_000) } });

await journal.commit([record(0)], "effect");
fill();
const accepted: number[] = [0];
let refused: unknown;
for (let n = 1; n <= 10 && refused === undefined; n++) {
  try {
    await journal.commit([record(n)], "effect");
    accepted.push(n);
  } catch (error) {
    refused = error;
  }
}
assert(isFault(refused, "JOURNAL"), String(refused));
assert.equal(journal.health, "no-space");
for (let n = 11; n <= 15; n++) {
  await journal.commit([record(n)], "report");
  accepted.push(n);
}
await journal.commit([{ kind: "out.ack", data: { n: 16 } }], "group");
accepted.push(16);
await assert.rejects(journal.commit([record(99)], "group"), (error) => isFault(error, "JOURNAL"));
await assert.rejects(journal.compact(JSON.stringify({ text: "x".repeat(500_000) })), /no space for a snapshot/);

rmSync(filler);
while (healthOf(journal) !== "ok") await sleep(5);
await journal.commit([record(17)], "effect");
accepted.push(17);

// Full with no ballast left: even ends are refused, but nothing breaks.
fill();
let gone: unknown;
for (let n = 18; n <= 200 && gone === undefined; n++) {
  try {
    await journal.commit([record(n)], "report");
    accepted.push(n);
  } catch (error) {
    gone = error;
  }
}
assert(isFault(gone, "JOURNAL"), String(gone));
assert.equal(journal.health, "no-space");
await journal[Symbol.asyncDispose]();

// A full disk does not keep it from opening.
{
  const again = await open(directory, { ballastBytes: 128 * 1024, spaceCheckMs: 20 });
  assert.equal(again.opening.repair.kind, "none", again.opening.repair.message);
  assert.deepEqual(
    again.opening.records.map(({ data }) => data["n"]),
    accepted,
  );
  assert.equal(again.journal.health, "no-space");
  rmSync(filler);
  while (healthOf(again.journal) !== "ok") await sleep(5);
  await again.journal[Symbol.asyncDispose]();
}
process.stdout.write("passed\n");

function fill(): void {
  for (const size of [65_536, 4_096]) {
    try {
      for (;;) writeFileSync(filler, Buffer.alloc(size), { flag: "a" });
    } catch {
      // full
    }
  }
}

/** Behind a call: the compiler would take the value asserted before for the one of now. */
function healthOf(of: Journal): Journal["health"] {
  return of.health;
}
