/** A journal whose disk or thread fails by a failpoint; prints what its callers are told. */
import { asFault } from "../../../../src/common/fault.ts";
import { open } from "../open.ts";

const [directory = ""] = process.argv.slice(2);
const { journal } = await open(directory);
const told: string[] = [];
for (let n = 1; n <= 4; n++) {
  try {
    await journal.commit([{ kind: "start.ok", data: { n } }], "effect");
    told.push("ok");
  } catch (error) {
    told.push(asFault(error).code);
  }
}
process.stdout.write(`${JSON.stringify({ told, health: journal.health })}\n`);
await journal[Symbol.asyncDispose]();
