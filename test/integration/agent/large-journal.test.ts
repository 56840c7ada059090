import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { record } from "../../../src/agent/records.ts";
import { encodeLine } from "../../../src/journal/format.ts";
import { headerLine } from "../../../src/journal/generations.ts";
import { Program } from "../../helpers/program.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import { at, heldJobOf } from "../../unit/agent/builders.ts";
import { openLedger } from "./ledger.ts";

const jobs = 1_000;
const text = "x".repeat(400);

/** A journal whose compaction failed for long: held jobs, then change upon change of them. Gives how many changes. */
async function grow(directory: string, leastBytes: number): Promise<number> {
  const source = { directory, agentId: "agent-1", host: "here", bootId: "" };
  let seq = 1;
  const line = (kind: string, n: number, data: object): Buffer =>
    encodeLine({ seq: ++seq, at, kind, job: `j${n % jobs}`, data: JSON.stringify(data), left: 0 });
  const held = Array.from({ length: jobs }, (_, n) => line("job.held", n, { job: heldJobOf(`j${n}`) }));
  await using file = await open(`${directory}/journal.00000001.log`, "w", 0o600);
  const start = Buffer.concat([headerLine(source, 1, 1, at, undefined), ...held]);
  await file.write(start);
  let changes = 0;
  for (let bytes = start.length; bytes < leastBytes;) {
    const many = Array.from({ length: 5_000 }, () => {
      const n = changes++;
      return line("job.change", n, { patch: { data: { n, text } } });
    });
    const { bytesWritten } = await file.write(Buffer.concat(many));
    bytes += bytesWritten;
  }
  return changes;
}

const program = join(import.meta.dirname, "programs", "open-ledger.ts");
/** Measured: 160 MB, of which Node and the modules are 117; 650 MB when all records were held in memory. */
const mostMemoryMb = 300;

it(
  "C8: a journal of 100 MB is read whole within seconds and in little memory, and its first new record compacts it",
  {
    timeout: 240_000,
  },
  async () => {
    await using directory = await temporaryDirectory();
    const folder = directory.join("journal");
    await mkdir(folder, { mode: 0o700 });
    const changes = await grow(folder, 100_000_000);
    await using opening = await Program.start(process.execPath, [program, directory.path], { env: {} });
    const { stdout, stderr } = await opening.result(120_000);
    expect(stderr).toBe("");
    const { jobs: read, memoryMb } = JSON.parse(stdout) as { jobs: number; memoryMb: number };
    expect(read).toBe(jobs);
    expect(memoryMb).toBeLessThan(mostMemoryMb);
    const begin = performance.now();
    let expected: unknown;
    {
      await using ledger = await openLedger(directory.path);
      expect(performance.now() - begin).toBeLessThan(30_000);
      expect(ledger.book.jobs.size).toBe(jobs);
      expect(ledger.book.jobs.get("j7")?.data).toEqual({ n: changes - jobs + 7, text });
      expect(ledger.journal.size.bytes).toBeGreaterThan(100_000_000);
      await ledger.commit([record("job.change", { patch: { step_tries: 1 } }, "j0")], "effect");
      await waitFor(() => ledger.journal.size.bytes < 1_000, { what: "the compaction", timeoutMs: 30_000 });
      expected = ledger.book.snapshot();
    }
    await using again = await openLedger(directory.path);
    expect(again.book.snapshot()).toEqual(expected);
    expect(again.journal.size.bytes).toBeLessThan(1_000);
  },
);
