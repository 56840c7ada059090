/** Agents that are confused or hostile: whatever they say in whatever order, the hub answers it and its books hold. */
import { expect, it } from "vitest";
import { isFinal } from "../../../src/jobs/transitions.ts";
import { type JobState, jobStates } from "../../../src/jobs/states.ts";
import { pick, seeded } from "../../helpers/random.ts";
import { onBothStores, startTestHub, type TestHub } from "./hub.ts";
import { type TestSite, testSite } from "./site.ts";

const rounds = 500;
const jobs = 12;

interface Row {
  readonly id: string;
  readonly state: JobState;
  readonly epoch: number;
  readonly bound: number;
  readonly site_id: string | null;
  readonly op_id: string | null;
  readonly report_seq: number;
  readonly ended_at: number | null;
}

async function rowsOf(hub: TestHub): Promise<ReadonlyMap<string, Row>> {
  const rows = await hub.ctx.store.db
    .selectFrom("jobs")
    .select(["id", "state", "epoch", "bound", "site_id", "op_id", "report_seq", "ended_at"])
    .execute();
  return new Map(rows.map((row) => [row.id, row as Row]));
}

/** What no call of an agent may do to a job. */
function broken(before: Row, after: Row): string | undefined {
  const same = before.epoch === after.epoch;
  if (after.epoch < before.epoch) return "its epoch went back";
  if (same && before.site_id !== after.site_id) return "another holder in the same epoch";
  if (same && before.bound === 1 && after.bound === 0) return "a confirmed claim fell back";
  if (same && after.report_seq < before.report_seq) return "report numbers went back";
  if (same && after.report_seq > before.report_seq + 5) return "report numbers were left out";
  if (isFinal(before.state) && (after.state !== before.state || !same)) return "an end was contradicted";
  if (after.site_id === null && (after.op_id !== null || after.bound === 1)) return "confirmed or claimed by nobody";
  if (isFinal(after.state) !== (after.ended_at !== null)) return "an end without its time";
  return undefined;
}

/** Values where a number is expected. */
const numbers: readonly unknown[] = [1, 1, 1, 2, 2, 3, 4, 0, -1, 1.5, 2 ** 53, 1e300, "1", null, [], {}];
const texts: readonly unknown[] = [
  "",
  "x",
  "x".repeat(3_000),
  "\u0000",
  "'; DROP TABLE jobs; --",
  "{{x}}",
  7,
  null,
  [],
  {},
];

class Fuzzer {
  readonly #random: () => number;
  readonly #ids: readonly string[];
  readonly #rows: () => Promise<ReadonlyMap<string, Row>>;

  constructor(random: () => number, ids: readonly string[], rows: () => Promise<ReadonlyMap<string, Row>>) {
    this.#random = random;
    this.#ids = ids;
    this.#rows = rows;
  }

  /** One call, mostly well formed, of the site. Returns its status. */
  async call(site: TestSite): Promise<{ readonly what: string; readonly status: number }> {
    const rows = await this.#rows();
    const row = rows.get(this.#one(this.#ids));
    const id = this.#chance(0.95) ? (row?.id ?? "none") : this.#one(["none", "a b", "%2e%2e", "x".repeat(300)]);
    const epoch = this.#chance(0.93) ? (row?.epoch ?? 1) || 1 : this.#one(numbers);
    const path = `/jobs/${encodeURIComponent(id)}`;
    const what = this.#one([
      "synchronize",
      "synchronize",
      "reports",
      "reports",
      "reports",
      "release",
      "claim",
      "renew",
      "log",
    ]);
    switch (what) {
      case "synchronize":
        return { what, ...(await site.post("/synchronize", this.#synchronize(rows, site))) };
      case "reports":
        return { what, ...(await site.post("/reports", { reports: this.#reports(row, id, epoch) })) };
      case "log": {
        const query = `attempt=${String(this.#one([1, 0, -1, "x"]))}&offset=${String(this.#one([0, 3, 1e9, -1]))}&epoch=${String(epoch)}`;
        const type = { "content-type": "application/octet-stream" };
        return { what, ...(await site.call("PUT", `${path}/logs/stdout?${query}`, "abc", type)) };
      }
      default: {
        const body = what === "claim" ? {} : { epoch, ...(what === "release" ? { reason: this.#one(texts) } : {}) };
        const key = this.#chance(0.5) ? { "idempotency-key": this.#one(["k", "x".repeat(400), " "]) } : {};
        return { what, ...(await site.post(`${path}:${what}`, body, key)) };
      }
    }
  }

  #synchronize(rows: ReadonlyMap<string, Row>, site: TestSite): Record<string, unknown> {
    const held = [...rows.values()]
      .filter(() => this.#chance(0.3))
      .map((row) => {
        const epoch = this.#chance(0.98) ? row.epoch || 1 : this.#one(numbers);
        return { job: row.id, epoch, seq: this.#chance(0.99) ? 1 : this.#one(numbers), state: "RUNNING" };
      });
    return {
      agent_id: "a",
      instance_id: this.#chance(0.9) ? `${site.id}-1` : this.#one(texts),
      ...(this.#chance(0.7) ? {} : { session_epoch: this.#one(numbers) }),
      version: "t",
      state: this.#chance(0.97) ? this.#one(["running", "running", "paused", "draining"]) : "asleep",
      hold_ms: this.#chance(0.95) ? 0 : this.#one([-1, 1e9, "0"]),
      free: this.#chance(0.9) ? [{ workflow: "w", slots: 3 }] : [{ workflow: "w", slots: this.#one(numbers) }],
      max_assign: this.#chance(0.9) ? 3 : this.#one(numbers),
      held: this.#chance(0.9) ? held : [...held, ...held],
      orders: this.#chance(0.8)
        ? []
        : [{ id: this.#one(texts), result: this.#one(["accepted", "done", "not-held", "eaten"]) }],
      ...(this.#chance(0.95) ? {} : { surprise: 1 }),
    };
  }

  #reports(row: Row | undefined, job: string, epoch: unknown): readonly object[] {
    const first = (row?.report_seq ?? 0) + this.#one([1, 1, 1, 1, 0, 2, -3]);
    return Array.from({ length: this.#one([1, 1, 2, 4]) }, (_, index) => {
      const state = this.#chance(0.6)
        ? this.#one(["READY", "STAGED_IN", "RUNNING"])
        : this.#one([...Object.keys(jobStates), "ASLEEP"]);
      return {
        job,
        op_id: this.#chance(0.9) ? (row?.op_id ?? "op") : this.#one(texts),
        epoch,
        seq: this.#chance(0.95) ? first + index : this.#one(numbers),
        attempt: this.#chance(0.97) ? 1 : this.#one(numbers),
        state,
        phase: this.#chance(0.97) ? this.#one(["none", "claimed", "started"]) : "dancing",
        at: this.#chance(0.95) ? new Date().toISOString() : this.#one(["yesterday", "0000-00-00T00:00:00Z", 5]),
        done: ["JOB_FINISHED", "FAILED", "CANCELLED"].includes(state) || this.#chance(0.05),
        ...(this.#chance(0.9)
          ? {}
          : { outputs: [{ path: this.#one(["../x", "/etc/passwd", "ok"]), bytes: this.#one(numbers) }] }),
        ...(this.#chance(0.9) ? {} : { data: { ["__proto__x"]: this.#one(texts) } }),
      };
    });
  }

  #one<Item>(items: readonly Item[]): Item {
    return pick(items, this.#random);
  }

  #chance(share: number): boolean {
    return this.#random() < share;
  }
}

onBothStores("agents that are confused or hostile", (kind) => {
  it("get an answer to everything, never a 5xx, and break no claim, epoch, number or end", async () => {
    const random = seeded(20_260_303);
    await using hub = await startTestHub(kind);
    const client = await hub.client("admin");
    const ids: string[] = [];
    for (let index = 0; index < jobs; index++) ids.push((await client.submit({ workflow: "w" })).id);
    await using one = await testSite(hub, "lab-a");
    await using two = await testSite(hub, "lab-b");
    const fuzzer = new Fuzzer(random, ids, () => rowsOf(hub));
    const statuses = new Map<number, number>();
    let before = await rowsOf(hub);
    for (let round = 0; round < rounds; round++) {
      if (round % 100 === 50) ids.push((await client.submit({ workflow: "w" })).id);
      if (round % 90 === 40) await client.cancel(pick(ids, random), "enough");
      before = await rowsOf(hub);
      const { what, status } = await fuzzer.call(random() < 0.5 ? one : two);
      expect(status, `${what} in round ${round}`).toBeLessThan(500);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      for (const [id, after] of await rowsOf(hub)) {
        const row = before.get(id);
        expect(
          row && broken(row, after),
          `${id} after ${what} in round ${round}: ${JSON.stringify([row, after])}`,
        ).toBeUndefined();
      }
    }
    // It was no walk along the wall: much of it was carried out.
    expect(statuses.get(200)).toBeGreaterThan(rounds / 6);
    expect(statuses.get(422)).toBeGreaterThan(rounds / 50);
    const after = await rowsOf(hub);
    expect([...after.values()].filter((row) => row.epoch > 0).length).toBeGreaterThan(jobs / 2);
    // Every claim is an operation that NMDC readers see, and of each job at most one is open.
    const operations = await hub.ctx.store.db.selectFrom("operations").select(["id", "done"]).execute();
    const open = new Set(operations.filter((row) => Number(row.done) === 0).map((row) => row.id));
    const current = [...after.values()].flatMap((row) =>
      row.op_id !== null && row.ended_at === null ? [row.op_id] : [],
    );
    expect([...open].toSorted()).toEqual(current.toSorted());
  });
});
