import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Book } from "../../../src/agent/book.ts";
import { hasLiveAttempt } from "../../../src/agent/held-job.ts";
import { type AgentRecord, record, toJournal } from "../../../src/agent/records.ts";
import type { JsonObject } from "../../../src/common/json.ts";
import type { ManifestEntry } from "../../../src/transfer/types.ts";
import { at, heldJobOf, liveAttempt, reportOf } from "./builders.ts";

const ids = fc.constantFrom("a", "b", "c");
const small = fc.integer({ min: 1, max: 4 });
const outcome = fc.constantFrom("applied", "duplicate", "parked", "fenced");
const file = fc.record({ item: fc.constantFrom("x", "y"), path: fc.constantFrom("1", "2", "3"), bytes: fc.nat(9) });
const state = fc.constantFrom("READY", "STAGED_IN", "RUNNING", "FAILED");
const jobs = { a: heldJobOf("a"), b: heldJobOf("b", { bound: false }), c: heldJobOf("c", { epoch: 2, bound: false }) };

/** Any record after any other, whether it makes sense or not. */
const anyRecord: fc.Arbitrary<AgentRecord> = fc.oneof(
  ids.map((id) => record("job.held", { job: jobs[id] }, id)),
  ids.map((id) => record("claim.intent", { spec: jobs[id].spec }, id)),
  ids.map((id) => record("claim.void", { reason: "lost" }, id)),
  fc
    .tuple(ids, state, fc.boolean(), fc.boolean())
    .map(([id, to, ended, entered]) =>
      record(
        "job.change",
        { patch: { state: to, ended_at: ended ? at : null, entered: entered ? { step: "launch", deaths: 0 } : null } },
        id,
      ),
    ),
  fc
    .tuple(ids, file, fc.constantFrom("in" as const, "out" as const))
    .map(([id, entry, direction]) =>
      record("job.file", { direction, entry: { ...entry, url: "u", sha256: "d", verified: "digest" } }, id),
    ),
  ids.map((id) => record("job.forgotten", { reason: "kept" }, id)),
  fc
    .tuple(ids, small, small)
    .map(([id, seq, epoch]) => record("out.put", { report: reportOf(id, seq, { epoch }) }, id)),
  fc
    .tuple(ids, small, small, outcome)
    .map(([id, seq, epoch, word]) => record("out.ack", { epoch, seq, outcome: word }, id)),
  fc.tuple(ids, small).map(([job, n]) =>
    record("order.received", {
      order: { id: `o${n}`, kind: "cancel", job, reason: "", actor: "ada", at },
    }),
  ),
  small.map((n) => record("order.answered", { id: `o${n}`, result: "accepted" })),
  small.map((n) => record("order.closed", { id: `o${n}` })),
  fc
    .constantFrom("running" as const, "paused" as const, "draining" as const)
    .map((mode) => record("agent.mode", { mode, reason: "r", by: "ada", at })),
  small.map((epoch) => record("agent.session", { epoch })),
  fc.constant(record("agent.start", { instance_id: "i", version: "1", boot_id: "b", pid: 1, host: "h" })),
  fc.constant(record("agent.stop", { reason: "stopped" })),
);

function fold(book: Book, records: readonly AgentRecord[]): Book {
  for (const entry of records) book.apply(toJournal(entry) as unknown as AgentRecord);
  return book;
}

describe("the book", () => {
  it("is the same from memory, from the whole journal, and from a snapshot taken anywhere plus the rest", () => {
    fc.assert(
      fc.property(fc.array(anyRecord, { maxLength: 60 }), fc.nat(60), (records, cut) => {
        const whole = fold(new Book(), records);
        const first = fold(new Book(), records.slice(0, cut));
        const stored = JSON.parse(first.snapshot()) as JsonObject;
        // What happens after the snapshot was taken must not reach into it.
        fold(first, records.slice(cut));
        const resumed = fold(Book.fromSnapshot(stored), records.slice(cut));
        expect(resumed.snapshot()).toEqual(whole.snapshot());
        expect(first.snapshot()).toEqual(whole.snapshot());
      }),
    );
  });

  it("knows as open exactly the held jobs that have not ended", () => {
    fc.assert(
      fc.property(fc.array(anyRecord, { maxLength: 60 }), (records) => {
        const book = fold(new Book(), records);
        const expected = [...book.jobs.values()].filter((job) => job.ended_at === undefined);
        expect(new Map(book.open)).toEqual(new Map(expected.map((job) => [job.id, job])));
      }),
    );
  });

  it("knows by target which open jobs have an attempt that is not proven dead", () => {
    const attempt = fc.tuple(ids, fc.constantFrom("cpu", "gpu"), fc.boolean()).map(([id, target, hasEnded]) => {
      const end = hasEnded ? { end: { cause: "exit", exit_code: 0, evidence: "rc", ended_at: at } } : {};
      return record("job.change", { patch: { target, attempt: 1, attempts: [{ ...liveAttempt(), ...end }] } }, id);
    });
    fc.assert(
      fc.property(fc.array(fc.oneof(attempt, anyRecord), { maxLength: 60 }), (records) => {
        const book = fold(new Book(), records);
        for (const target of ["local", "cpu", "gpu"]) {
          const expected = [...book.open.values()].filter((job) => job.target === target && hasLiveAttempt(job));
          expect(new Map(book.liveOn(target))).toEqual(new Map(expected.map((job) => [job.id, job])));
        }
      }),
    );
  });

  it("has each file of a manifest once, the latest entry, in the order of their first coming", () => {
    fc.assert(
      fc.property(fc.array(file, { maxLength: 30 }), (files) => {
        const book = fold(new Book(), [record("job.held", { job: jobs.a }, "a")]);
        const oracle = new Map<string, ManifestEntry>();
        for (const one of files) {
          const entry: ManifestEntry = { ...one, url: "u", sha256: "d", verified: "digest" };
          oracle.set(`${one.item} ${one.path}`, entry);
          fold(book, [record("job.file", { direction: "in", entry }, "a")]);
        }
        expect(book.jobs.get("a")?.manifest_in).toEqual([...oracle.values()]);
      }),
    );
  });

  it("reads the snapshot of a version that knew of fewer things", () => {
    const book = fold(new Book(), [record("job.held", { job: jobs.a }, "a")]);
    const { past_orders: _orders, stopped: _stopped, ...older } = JSON.parse(book.snapshot()) as JsonObject;
    expect(Book.fromSnapshot(older).snapshot()).toEqual(book.snapshot());
  });

  it("remembers how the latest thousand orders ended, and no more", () => {
    const book = new Book();
    for (let n = 1; n <= 1_003; n++) {
      const order = { id: `o${n}`, kind: "cancel", job: "a", reason: "", actor: "ada", at };
      const answered = record("order.answered", { id: order.id, result: "done" });
      fold(book, [record("order.received", { order }), answered, record("order.closed", { id: order.id })]);
    }
    expect([book.orders.size, book.pastOrders.size]).toEqual([0, 1_000]);
    expect([book.pastOrders.has("o3"), book.pastOrders.get("o4"), book.pastOrders.get("o1003")]).toEqual([
      false,
      "done",
      "done",
    ]);
  });

  it("ignores kinds of a newer version", () => {
    const book = fold(new Book(), [{ kind: "job.teleported", job: "a", data: {} } as unknown as AgentRecord]);
    expect(book.jobs.size).toBe(0);
  });
});

describe("acknowledgements", () => {
  const put = (seq: number, epoch = 1): AgentRecord =>
    record("out.put", { report: reportOf("b", seq, { epoch }) }, "b");
  const ack = (seq: number, word: string, epoch = 1): AgentRecord =>
    record("out.ack", { epoch, seq, outcome: word }, "b");
  const seqs = (book: Book): unknown =>
    book.outbox.get("b")?.map(({ report, parked }) => [report.epoch, report.seq, parked]);
  const held = record("job.held", { job: jobs.b }, "b");

  it("take that report and all before it, of that epoch only", () => {
    const book = fold(new Book(), [held, put(1), put(2), put(3), put(1, 2), ack(2, "applied")]);
    expect(seqs(book)).toEqual([
      [1, 3, undefined],
      [2, 1, undefined],
    ]);
    fold(book, [ack(3, "duplicate"), ack(1, "applied", 2)]);
    expect(book.outbox.has("b")).toBe(false);
  });

  it("bind the job only when a report of its own epoch was taken", () => {
    expect(fold(new Book(), [held, put(1), ack(1, "fenced")]).jobs.get("b")?.bound).toBe(false);
    expect(fold(new Book(), [held, put(1), ack(1, "applied", 2)]).jobs.get("b")?.bound).toBe(false);
    expect(fold(new Book(), [held, put(1), ack(1, "duplicate")]).jobs.get("b")?.bound).toBe(true);
  });

  it("keep a refused report visible until the next start offers it again", () => {
    const book = fold(new Book(), [held, put(1), put(2), put(1, 2), ack(1, "parked")]);
    expect(seqs(book)).toEqual([
      [1, 1, "parked"],
      [1, 2, undefined],
      [2, 1, undefined],
    ]);
    fold(book, [record("agent.start", { instance_id: "i", version: "2", boot_id: "b", pid: 1, host: "h" })]);
    expect(seqs(book)).toEqual([
      [1, 1, undefined],
      [1, 2, undefined],
      [2, 1, undefined],
    ]);
  });
});

describe("deaths in a step", () => {
  const start = record("agent.start", { instance_id: "i", version: "1", boot_id: "b", pid: 1, host: "h" });
  const enter = record("job.change", { patch: { entered: { step: "stage_in", deaths: 0 } } }, "a");
  const held = record("job.held", { job: jobs.a }, "a");
  const deaths = (...records: AgentRecord[]): number | undefined =>
    fold(new Book(), [held, ...records]).jobs.get("a")?.entered?.deaths;

  const enterAgain = record("job.change", { patch: { entered: { step: "stage_in", deaths: 1 } } }, "a");

  it("are counted when the process did not say goodbye", () => {
    expect(deaths(enter, start)).toBe(1);
    expect(deaths(enter, start, enterAgain, start)).toBe(2);
    expect(deaths(start, start)).toBeUndefined();
  });

  it("are not counted of a process that died before it began the step", () => {
    expect(deaths(enter, start, start, start)).toBe(1);
    expect(deaths(enter, record("agent.stop", { reason: "stopped" }), start, start)).toBe(0);
  });

  it("are not counted after an orderly stop", () => {
    const stop = record("agent.stop", { reason: "stopped" });
    expect(deaths(enter, stop, start)).toBe(0);
    expect(deaths(enter, start, enterAgain, stop, start, start)).toBe(1);
  });

  it("are forgotten when a file came through meanwhile", () => {
    const entry: ManifestEntry = { item: "x", path: "1", url: "u", bytes: 1, sha256: "d", verified: "digest" };
    expect(deaths(enter, start, enterAgain, record("job.file", { direction: "in", entry }, "a"), start)).toBe(1);
  });
});
