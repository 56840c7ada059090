import { appendFile, chmod, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import type { JournalRecord } from "../../../src/journal/types.ts";
import { encodeLine } from "../../../src/journal/format.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import { open } from "./open.ts";

const first = "journal.00000001.log";

function record(n: number, kind = "start.ok"): JournalRecord {
  return { kind, job: `job-${n}`, data: { n } };
}

function numbers(records: readonly { readonly data: { readonly [key: string]: unknown } }[]): readonly unknown[] {
  return records.map(({ data }) => data["n"]);
}

test("gives back what was committed, in order and with rising sequence numbers", async () => {
  await using directory = await temporaryDirectory();
  {
    const { journal, opening } = await open(directory.path);
    await using _ = journal;
    expect(opening).toStrictEqual({ snapshot: undefined, records: [], repair: { kind: "none" } });
    await Promise.all([
      journal.commit([record(1), record(2)], "effect"),
      journal.commit([record(3)], "group"),
      journal.commit([record(4)], "lazy"),
      journal.commit([record(5)], "report"),
    ]);
    expect(journal.size.records).toBeGreaterThanOrEqual(5);
    expect(journal.size.bytes).toBeGreaterThan(0);
    expect(journal.syncMs.max).toBeGreaterThan(0);
    expect(journal.health).toBe("ok");
  }
  const { journal, opening } = await open(directory.path);
  await using _ = journal;
  expect(numbers(opening.records)).toStrictEqual([1, 2, 3, 4, 5]);
  expect(opening.records[0]).toMatchObject({ v: 1, kind: "start.ok", job: "job-1" });
  const sequence = opening.records.map(({ seq }) => seq);
  expect(sequence).toStrictEqual(sequence.map((_seq, index) => (sequence[0] ?? 0) + index));
  expect((await stat(directory.join(first))).mode & 0o777).toBe(0o600);
});

test("begins each file with schema, agent, host and boot", async () => {
  await using directory = await temporaryDirectory();
  const { journal } = await open(directory.path);
  await using _ = journal;
  const [header] = (await readFile(directory.join(first), "utf8")).split("\n");
  expect(JSON.parse(header?.slice(9) ?? "")).toMatchObject({
    kind: "journal.header",
    data: { schema: 1, agentId: "agent-1", host: expect.any(String), bootId: expect.any(String) },
  });
});

test("records after close are refused", async () => {
  await using directory = await temporaryDirectory();
  const { journal } = await open(directory.path);
  await journal[Symbol.asyncDispose]();
  await expect(journal.commit([record(1)], "effect")).rejects.toMatchObject({ code: "JOURNAL" });
  await expect(journal.compact(JSON.stringify({}))).rejects.toMatchObject({ code: "JOURNAL" });
});

test("replaces everything so far by a snapshot and keeps one older generation", async () => {
  await using directory = await temporaryDirectory();
  {
    const { journal } = await open(directory.path);
    await using _ = journal;
    for (let generation = 1; generation <= 3; generation++) {
      await journal.commit([record(generation)], "effect");
      await journal.compact(JSON.stringify({ upTo: generation }));
      expect(journal.size).toStrictEqual({ bytes: 0, records: 0 });
    }
    await journal.commit([record(4)], "effect");
  }
  expect((await readdir(directory.path)).filter((name) => name.endsWith(".log"))).toStrictEqual([
    "journal.00000003.log",
    "journal.00000004.log",
  ]);
  const { journal, opening } = await open(directory.path);
  await using _ = journal;
  expect(opening.snapshot).toStrictEqual({ upTo: 3 });
  expect(numbers(opening.records)).toStrictEqual([4]);
});

test("cuts a torn tail, keeps it aside and goes on", async () => {
  await using directory = await temporaryDirectory();
  {
    const { journal } = await open(directory.path);
    await using _ = journal;
    await journal.commit([record(1)], "effect");
  }
  await appendFile(directory.join(first), '0badbeef {"v":1,"seq');
  {
    const { journal, opening } = await open(directory.path);
    await using _ = journal;
    expect(opening.repair.kind).toBe("torn-tail");
    expect(numbers(opening.records)).toStrictEqual([1]);
    expect(await readFile(opening.repair.keptAside ?? "", "utf8")).toBe('0badbeef {"v":1,"seq');
    await journal.commit([record(2)], "effect");
  }
  const { journal, opening } = await open(directory.path);
  await using _ = journal;
  expect(opening.repair).toStrictEqual({ kind: "none" });
  expect(numbers(opening.records)).toStrictEqual([1, 2]);
});

test("C7: salvages around damage in the middle, says so until the next compaction, and keeps the file aside", async () => {
  await using directory = await temporaryDirectory();
  {
    const { journal } = await open(directory.path);
    await using _ = journal;
    for (let n = 1; n <= 5; n++) await journal.commit([record(n)], "effect");
  }
  const bytes = await readFile(directory.join(first));
  const place = bytes.indexOf('"n":3');
  bytes.write('"n":8', place);
  await writeFile(directory.join(first), bytes);
  for (let opened = 1; opened <= 2; opened++) {
    const { journal, opening } = await open(directory.path);
    await using _ = journal;
    expect(opening.repair.kind).toBe("salvage");
    expect(opening.repair.message).toContain("not as it was written");
    expect(numbers(opening.records)).toStrictEqual([1, 2, 4, 5]);
    expect(await readFile(opening.repair.keptAside ?? "")).toStrictEqual(bytes);
    if (opened === 2) await journal.compact(JSON.stringify({ salvaged: true }));
  }
  const { journal, opening } = await open(directory.path);
  await using _ = journal;
  expect(opening).toMatchObject({ repair: { kind: "none" }, snapshot: { salvaged: true } });
});

test("falls back to the older generation when the snapshot is damaged", async () => {
  await using directory = await temporaryDirectory();
  {
    const { journal } = await open(directory.path);
    await using _ = journal;
    await journal.commit([record(1)], "effect");
    await journal.compact(JSON.stringify({ upTo: 1 }));
    await journal.commit([record(2)], "effect");
    await journal.compact(JSON.stringify({ upTo: 2 }));
    await journal.commit([record(3)], "effect");
  }
  const newest = directory.join("journal.00000003.log");
  const bytes = await readFile(newest);
  bytes.write("X", 20);
  await writeFile(newest, bytes);
  const { journal, opening } = await open(directory.path);
  await using _ = journal;
  expect(opening.repair.kind).toBe("salvage");
  expect(opening.snapshot).toStrictEqual({ upTo: 1 });
  expect(numbers(opening.records)).toStrictEqual([2, 3]);
});

/** Three generations of which two are there: 2 with snapshot 1 and record 2, 3 with snapshot 2 and record 3. */
async function twoGenerations(directory: TemporaryDirectory, agentId?: string): Promise<readonly [string, string]> {
  const { journal } = await open(directory.path, {}, agentId);
  await using _ = journal;
  for (const n of [1, 2, 3]) {
    await journal.commit([record(n)], "effect");
    if (n < 3) await journal.compact(JSON.stringify({ upTo: n }));
  }
  return [directory.join("journal.00000002.log"), directory.join("journal.00000003.log")];
}

async function damage(file: string, at: (bytes: Buffer) => number): Promise<void> {
  const bytes = await readFile(file);
  bytes.write("X", at(bytes));
  await writeFile(file, bytes);
}

test("keeps what is intact of two damaged generations, and both files aside", async () => {
  await using directory = await temporaryDirectory();
  const [older, newer] = await twoGenerations(directory);
  await damage(older, (bytes) => bytes.indexOf('"upTo"'));
  await damage(newer, (bytes) => bytes.indexOf('"upTo"'));
  const { journal, opening } = await open(directory.path);
  await using _ = journal;
  expect(opening).toMatchObject({ repair: { kind: "salvage" }, snapshot: undefined });
  expect(numbers(opening.records)).toStrictEqual([2, 3]);
  const names = await readdir(directory.path);
  expect(names.filter((name) => name.includes(".damaged-")).map((name) => name.slice(0, 20))).toStrictEqual([
    "journal.00000002.log",
    "journal.00000003.log",
  ]);
});

test("takes nothing of an older generation that belongs to another agent", async () => {
  await using directory = await temporaryDirectory();
  const [, newer] = await twoGenerations(directory, "agent-2");
  await damage(newer, (bytes) => bytes.indexOf('"upTo"'));
  const { journal, opening } = await open(directory.path);
  await using _ = journal;
  expect(opening).toMatchObject({ repair: { kind: "salvage" }, snapshot: undefined });
  expect(numbers(opening.records)).toStrictEqual([3]);
});

test("a tail that is torn after a salvage does not make the salvage forgotten", async () => {
  await using directory = await temporaryDirectory();
  const [, newer] = await twoGenerations(directory);
  await damage(newer, (bytes) => bytes.indexOf('"n":3'));
  await appendFile(newer, encodeLine({ seq: 99, at: "2026-01-01T00:00:00.000Z", kind: "end", data: "{}", left: 0 }));
  {
    const { journal } = await open(directory.path);
    await using _ = journal;
  }
  await appendFile(directory.join("journal.00000004.log"), "0000");
  const { journal, opening } = await open(directory.path);
  await using _ = journal;
  expect(opening.repair.kind).toBe("salvage");
  expect((await readdir(directory.path)).some((name) => name.startsWith("journal.00000004.log.torn-"))).toBe(true);
});

test("nothing to write is written at once; after the end nothing is, neither records nor snapshots", async () => {
  await using directory = await temporaryDirectory();
  const { journal } = await open(directory.path);
  const { bytes } = journal.size;
  await journal.commit([], "effect");
  expect(journal.size.bytes).toBe(bytes);
  await journal[Symbol.asyncDispose]();
  await expect(journal.compact(JSON.stringify({}))).rejects.toMatchObject({
    code: "JOURNAL",
    message: "the journal is closed",
  });
});

test("refuses more than fits the memory while the disk does not keep up, and writes all it has taken", async () => {
  await using directory = await temporaryDirectory();
  const { journal } = await open(directory.path);
  const text = "x".repeat(8 * 1024 * 1024);
  const commits = Array.from({ length: 12 }, (_, n) => journal.commit([{ kind: "end", data: { n, text } }], "effect"));
  expect(journal.syncMs.last).toBeGreaterThan(0);
  const results = await Promise.allSettled(commits);
  const refused = results.filter((result) => result.status === "rejected");
  expect(refused.length).toBeGreaterThan(0);
  for (const { reason } of refused) {
    expect(reason).toMatchObject({ code: "JOURNAL", message: expect.stringContaining("does not keep up") });
  }
  await journal.commit([record(99)], "effect");
  await journal[Symbol.asyncDispose]();
  const { journal: again, opening } = await open(directory.path);
  await using _ = again;
  expect(numbers(opening.records)).toStrictEqual([...Array.from({ length: 12 - refused.length }, (_, n) => n), 99]);
});

test.each([
  ["empty", Buffer.alloc(0)],
  ["zeros", Buffer.alloc(10_000)],
  ["binary rubbish", Buffer.from(Array.from({ length: 5_000 }, (_, index) => (index * 7919) % 256))],
])("C7: never refuses to start: %s", async (_name, content) => {
  await using directory = await temporaryDirectory();
  await writeFile(directory.join(first), content);
  {
    const { journal, opening } = await open(directory.path);
    await using _ = journal;
    expect(opening).toMatchObject({ repair: { kind: "salvage" }, records: [] });
    expect(await readFile(opening.repair.keptAside ?? "")).toStrictEqual(content);
    await journal.commit([record(1)], "effect");
  }
  const { journal, opening } = await open(directory.path);
  await using _ = journal;
  expect(numbers(opening.records)).toStrictEqual([1]);
});

test("C7: moves the journal of another agent aside and begins anew", async () => {
  await using directory = await temporaryDirectory();
  {
    const { journal } = await open(directory.path, {}, "agent-2");
    await using _ = journal;
    await journal.commit([record(1)], "effect");
  }
  const { journal, opening } = await open(directory.path);
  await using _ = journal;
  expect(opening.repair.kind).toBe("salvage");
  expect(opening.repair.message).toContain("'agent-2'");
  expect(opening.records).toStrictEqual([]);
});

test("refuses a journal of a newer version and touches nothing", async () => {
  await using directory = await temporaryDirectory();
  const text = encodeLine({
    seq: 1,
    at: "2026-01-01T00:00:00.000Z",
    kind: "journal.header",
    data: '{"schema":2,"agentId":"agent-1"}',
    left: 0,
  });
  const content = Buffer.concat([text, Buffer.from("torn")]);
  await writeFile(directory.join(first), content);
  await expect(open(directory.path)).rejects.toMatchObject({
    code: "JOURNAL_VERSION",
    message: expect.stringContaining("schema version '2'"),
  });
  expect(await readdir(directory.path)).toStrictEqual([first]);
  expect(await readFile(directory.join(first))).toStrictEqual(content);
});

test("refuses a place that is no directory, with the reason", async () => {
  await using directory = await temporaryDirectory();
  await writeFile(directory.join("file"), "");
  await chmod(directory.join("file"), 0o600);
  await expect(open(directory.join("file"))).rejects.toMatchObject({ code: "JOURNAL" });
});

test("syncs records of the class group within their time without a further commit", async () => {
  await using directory = await temporaryDirectory();
  const { journal } = await open(directory.path, { groupSyncMs: 20 });
  await using _ = journal;
  const [before, { records }] = [journal.syncMs.last, journal.size];
  await journal.commit([record(1)], "group");
  // Until it is written, the time that it waits counts as well.
  await waitFor(() => journal.size.records === records + 1 && journal.syncMs.last !== before, {
    what: "a sync of the group record",
  });
  expect(await readFile(directory.join(first), "utf8")).toContain('"job":"job-1"');
});

test("reads 100,000 records back", async () => {
  await using directory = await temporaryDirectory();
  {
    const { journal } = await open(directory.path);
    await using _ = journal;
    for (let start = 0; start < 100_000; start += 1_000) {
      await journal.commit(
        Array.from({ length: 1_000 }, (_, index) => record(start + index)),
        "effect",
      );
    }
    expect(journal.size.records).toBe(100_001);
  }
  const { journal, opening } = await open(directory.path);
  await using _ = journal;
  expect(numbers(opening.records)).toStrictEqual(Array.from({ length: 100_000 }, (_, index) => index));
});
