import { describe, expect, it } from "vitest";
import { record } from "../../../src/agent/records.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { heldJobOf, reportOf } from "../../unit/agent/builders.ts";
import { openLedger } from "./ledger.ts";

describe("the ledger", () => {
  it("loses no record to a snapshot that is taken while others are on their way to the disk", async () => {
    await using directory = await temporaryDirectory();
    let expected: unknown;
    {
      await using ledger = await openLedger(directory.path, { compactAfterBytes: 1e9, compactAfterRecords: 7 });
      const work = Array.from({ length: 30 }, async (_, n) => {
        const id = `j${n}`;
        await ledger.commit([record("job.held", { job: heldJobOf(id) }, id)], "effect");
        for (let seq = 1; seq <= 5; seq++) {
          // Synced and not synced ones mixed, many at once: what is quick must not overtake what is slow.
          const change = ledger.commit([record("job.change", { patch: { seq } }, id)], "report");
          const late = ledger.commit([record("job.change", { patch: { step_tries: seq } }, id)], "group");
          const put = ledger.commit([record("out.put", { report: reportOf(id, seq) }, id)], "report");
          await Promise.all([change, late, put]);
        }
        await ledger.commit([record("out.ack", { epoch: 1, seq: 4, outcome: "applied" }, id)], "group");
      });
      await Promise.all(work);
      expected = ledger.book.snapshot();
    }
    await using again = await openLedger(directory.path);
    expect(again.book.snapshot()).toEqual(expected);
    expect(again.book.jobs.size).toBe(30);
  });

  it("F16: does not write a large book anew with each commit", async () => {
    await using directory = await temporaryDirectory();
    await using ledger = await openLedger(directory.path, {
      compactAfterBytes: 10_000,
      compactAfterRecords: 1_000_000,
    });
    const wide = heldJobOf("wide", { data: { text: "x".repeat(50_000) } });
    await ledger.commit([record("job.held", { job: wide }, "wide")], "effect");
    await ledger.compact();
    const sizes: number[] = [];
    for (let seq = 1; seq <= 40; seq++) {
      await ledger.commit([record("job.change", { patch: { seq } }, "wide")], "effect");
      sizes.push(ledger.journal.size.bytes);
    }
    // Each of them only adds to the file.
    expect(sizes).toEqual(sizes.toSorted((a, b) => a - b));
    for (let n = 0; n < 30; n++) {
      const job = heldJobOf(`j${n}`, { data: { text: "x".repeat(5_000) } });
      await ledger.commit([record("job.held", { job }, job.id)], "effect");
    }
    await ledger.compact();
    expect(ledger.book.jobs.size).toBe(31);
  });

  it("knows changes in the order of the file, whatever their durability", async () => {
    await using directory = await temporaryDirectory();
    await using ledger = await openLedger(directory.path);
    await ledger.commit([record("job.held", { job: heldJobOf("j") }, "j")], "effect");
    const slow = ledger.commit([record("job.change", { patch: { step_tries: 1 } }, "j")], "effect");
    const quick = ledger.commit([record("job.change", { patch: { step_tries: 2 } }, "j")], "group");
    await Promise.all([slow, quick]);
    expect(ledger.book.jobs.get("j")?.step_tries).toBe(2);
  });
});
