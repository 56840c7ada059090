/** For file-thread.test.ts: what is called in the thread. */
import { readFileSync } from "node:fs";
import { threadId } from "node:worker_threads";
import { Fault } from "../../../src/common/fault.ts";

export function where(): number {
  return threadId;
}

export function read(path: string): string {
  return readFileSync(path, "utf8");
}

export async function refuse(): Promise<void> {
  await Promise.resolve();
  throw new Fault("UNSAFE_PATH", "refused", { hint: "do not", details: { path: "/x" } });
}

export function end(): void {
  process.exit(1);
}

export function wait(): Promise<never> {
  return new Promise(() => {});
}
