/** How long one job waits: from `POST /jobs` to the start of its process on an idle site, and from the end of the process to `done` on the hub. */
import { spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { waitFor } from "../test/helpers/wait.ts";
import { type Bench, quantile } from "./lib/bench.ts";
import { startRelease } from "./lib/release.ts";

/** The job's only work is to say when it began: that is both its start and, but for a millisecond, its end. */
const begins = {
  command: ["/bin/sh", "-c", 'exec date +%s%N > "$SITEAGENT_JOB_DIR/../../begun-$1"', "sh", "{{n}}"],
  parameters: { n: { type: "integer", minimum: 0 } },
};

export const bench: Bench = {
  about:
    "One job after the other on an idle site (hub and agent on loopback, long-poll). The job is `date`: what it prints is the start of the process, and taken for its end too. `done` is seen by asking for the job every 5 ms. Beside: a loopback round trip to the hub (`GET /livez`) and a start of `node -e 0`, in turn with the jobs.",
  async run({ quick, say }) {
    const rounds = quick ? 20 : 300;
    await using site = await startRelease({ apps: { begins } });
    const start: number[] = [];
    const done: number[] = [];
    const trips: number[] = [];
    const nodes: number[] = [];
    for (let n = 0; n < rounds; n++) {
      trips.push(await timed(async () => void (await (await fetch(`${site.access.url}/livez`)).arrayBuffer())));
      nodes.push(await timed(() => void spawnSync(process.execPath, ["-e", "0"])));
      const postedAt = Date.now();
      const { id } = await site.submit("begins", { n });
      await waitFor(async () => (await site.view(id)).ended_at !== null, {
        what: `the end of job ${n}`,
        intervalMs: 5,
        timeoutMs: 60_000,
      });
      const doneAt = Date.now();
      const begunAt = Number(await readFile(join(site.root, `begun-${n}`), "utf8")) / 1e6;
      start.push(begunAt - postedAt);
      done.push(doneAt - begunAt);
      if ((n + 1) % 50 === 0) say(`${n + 1} jobs`);
    }
    const [p50, p99, last] = [quantile(start, 0.5), quantile(start, 0.99), quantile(done, 0.99)];
    return [
      {
        what: "POST /jobs → process start, ms",
        values: start,
        beside: { what: "loopback round trip, ms", values: trips },
        goal: { text: "p50 ≤ 50 ms, p99 ≤ 250 ms", held: p50 <= 50 && p99 <= 250 },
      },
      { what: "the same", values: start, beside: { what: "start of `node -e 0`, ms", values: nodes } },
      { what: "process end → done on the hub, ms", values: done, goal: { text: "p99 ≤ 1 s", held: last <= 1_000 } },
    ];
  },
};

async function timed(work: () => Promise<void> | void): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}
