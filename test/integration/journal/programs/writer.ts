/** Commits records until it is killed and prints the number of each acknowledged one; begins after those it finds. */
import { open } from "../open.ts";

const [directory = ""] = process.argv.slice(2);
const { journal, opening } = await open(directory);
const state = opening.snapshot?.["upTo"];
const last = opening.records.at(-1)?.data["n"] ?? state ?? 0;
if (typeof last !== "number") throw new Error("not a number");
let next = last + 1;
process.stdout.write("open\n");

async function work(): Promise<void> {
  for (;;) {
    const n = next++;
    const padding = "x".repeat((n * 37) % 300);
    await journal.commit([{ kind: "start.ok", data: { n, padding } }], n % 3 === 0 ? "report" : "effect");
    process.stdout.write(`${n}\n`);
    if (n % 50 === 0) await journal.compact(JSON.stringify({ upTo: next - 1 }));
  }
}

// Several at once, so that commits share syncs; numbers are taken in the order of the calls.
await Promise.all([work(), work(), work()]);
