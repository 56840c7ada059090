/** Tries to become the instance; says what came of it, and holds until standard input ends. */
import { systemClock } from "../../../../src/common/clock.ts";
import { Fault } from "../../../../src/common/fault.ts";
import { silentLogger } from "../../../../src/common/logger.ts";
import { acquireInstanceLock } from "../../../../src/journal/instance-lock.ts";

const [stateDirectory = "", runtimeDirectory = ""] = process.argv.slice(2);
try {
  const lock = await acquireInstanceLock({ stateDirectory, runtimeDirectory, clock: systemClock, log: silentLogger });
  process.stdout.write(`${JSON.stringify({ won: lock.generation, tookOver: lock.tookOver?.pid })}\n`);
  process.stdin.resume();
  await new Promise((resolve) => process.stdin.once("end", resolve));
  await lock[Symbol.asyncDispose]();
} catch (error) {
  if (!(error instanceof Fault)) throw error;
  process.stdout.write(`${JSON.stringify({ refused: error.code, message: error.message })}\n`);
}
