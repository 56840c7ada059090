/**
 * Before the first test that starts processes: hub, agent and runner end in order once, so that Node keeps what it made of the sources. Tests
 * kill most of theirs, and such a process keeps nothing: each would strip the types of hundreds of modules anew.
 */
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { repository } from "./cli.ts";
import { compileCache } from "./compile-cache.ts";
import { isAlive, killIfThere } from "./processes.ts";
import { TestSite, traced } from "./site.ts";
import { waitFor } from "./wait.ts";

export default async function setup(): Promise<void> {
  const cache = compileCache["NODE_COMPILE_CACHE"];
  if (cache === undefined) return;
  const stamp = join(cache, "warm");
  const sources = newestSource();
  if (readStamp(stamp) === sources) return;
  try {
    await endOnceInOrder();
    writeFileSync(stamp, sources);
  } catch (error) {
    // What is broken is for the tests to say.
    process.stderr.write(`the compile cache stays cold: ${String(error)}\n`);
  }
}

async function endOnceInOrder(): Promise<void> {
  await using site = await TestSite.start({ apps: { any: { command: traced("exit 0") } } });
  const agent = await site.startAgent();
  const { id } = await site.submit("any");
  await site.ended(id, 120_000);
  const runner = site.runnerPid;
  await agent.stop({ killAfterMs: 60_000 });
  if (runner === undefined) return;
  killIfThere(runner, "SIGTERM");
  await waitFor(() => !isAlive(runner), { what: "the end of the runner" });
}

/** Changes with every source. */
function newestSource(): string {
  const folder = join(repository, "src");
  const times = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs);
  return `${times.length} ${Math.max(...times)}\n`;
}

function readStamp(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
