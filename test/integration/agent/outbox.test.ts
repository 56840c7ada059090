import { afterEach, describe, expect, it } from "vitest";
import type { Ledger } from "../../../src/agent/ledger.ts";
import { Notifier } from "../../../src/agent/notifier.ts";
import { runOutbox } from "../../../src/agent/outbox.ts";
import { record } from "../../../src/agent/records.ts";
import { openCentral } from "../../../src/central/discover.ts";
import { type Clock, systemClock } from "../../../src/common/clock.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { nextTurn, VirtualClock } from "../../helpers/clocks.ts";
import { type Answer, json, raw, reset, ScriptedServer } from "../../helpers/scripted-server.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import { heldJobOf, reportOf } from "../../unit/agent/builders.ts";
import { serveTokens } from "../central/context.ts";
import { openLedger } from "./ledger.ts";

const cleanups: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of cleanups.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

function use<Resource extends AsyncDisposable>(resource: Resource): Resource {
  cleanups.push(resource);
  return resource;
}

interface Key {
  readonly job: string;
  readonly epoch: number;
  readonly seq: number;
}

/** The hub's reports route; `verdict` says what becomes of each. */
function reports(verdict: (report: Key) => Record<string, unknown>): Answer {
  return async (request, response) => {
    const { reports: sent } = JSON.parse(request.body) as { reports: Key[] };
    const results = sent.map(({ job, epoch, seq }) => ({ job, epoch, seq, ...verdict({ job, epoch, seq }) }));
    await json(200, { results })(request, response);
  };
}

interface Rig {
  readonly server: ScriptedServer;
  readonly ledger: Ledger;
  readonly fenced: string[];
  readonly unknown: string[];
  readonly sent: () => string[];
  readonly notify: () => void;
}

async function startRig(
  answer: Answer,
  held: Readonly<Record<string, number>>,
  clock: Clock = systemClock,
): Promise<Rig> {
  const directory = use(await temporaryDirectory());
  const server = use(await ScriptedServer.start());
  serveTokens(server);
  server.on("POST /siteagent/v1/reports", answer);
  const ledger = use(await openLedger(directory.path));
  for (const [id, count] of Object.entries(held)) {
    await ledger.commit([record("job.held", { job: heldJobOf(id, { bound: false }) }, id)], "effect");
    for (let seq = 1; seq <= count; seq++)
      await ledger.commit([record("out.put", { report: reportOf(id, seq) }, id)], "report");
  }
  const central = use(
    await openCentral({
      url: server.url,
      site: "site-1",
      agentId: "agent-1",
      clientId: "sys0",
      clientSecret: async () => "secret",
      dialect: "hub",
      remembered: "hub",
      onDialect: () => {},
      timeoutMs: 5_000,
      pollMs: 1_000,
      caFile: undefined,
    }),
  );
  const stop = new AbortController();
  const work = new Notifier();
  const fenced: string[] = [];
  const unknown: string[] = [];
  const context = { signal: stop.signal, log: silentLogger, clock };
  const done = runOutbox(
    {
      ledger,
      central,
      work,
      changed: new Notifier(),
      back: new Notifier(),
      whole: async ({ report, page }) => (page ? undefined : report),
      onFenced: async (job) => {
        fenced.push(job);
        await ledger.commit([record("job.forgotten", { reason: "fenced" }, job)], "report");
      },
      onUnknown: (job) => unknown.push(job),
      onContact: () => {},
    },
    context,
  );
  use({
    async [Symbol.asyncDispose]() {
      stop.abort();
      await done;
    },
  });
  const sent = (): string[] =>
    server
      .received("POST /siteagent/v1/reports")
      .flatMap(({ body }) => (JSON.parse(body) as { reports: Key[] }).reports.map(({ job, seq }) => `${job}${seq}`));
  return { server, ledger, fenced, unknown, sent, notify: () => work.notify() };
}

const applied = reports(() => ({ outcome: "applied" }));

describe("the outbox", () => {
  it("sends all in order and binds the jobs", async () => {
    const { ledger, sent } = await startRig(applied, { a: 3, b: 2 });
    await waitFor(() => ledger.book.outbox.size === 0, { what: "an empty outbox" });
    expect(sent().toSorted()).toEqual(["a1", "a2", "a3", "b1", "b2"]);
    expect([...ledger.book.jobs.values()].map((job) => job.bound)).toEqual([true, true]);
  });

  it("gathers the reports of jobs that are bound, and lets none wait that binds", async () => {
    const clock = new VirtualClock();
    const { server, ledger, notify } = await startRig(applied, { a: 1 }, clock);
    const put = async (job: string, seq: number): Promise<void> => {
      await ledger.commit([record("out.put", { report: reportOf(job, seq) }, job)], "report");
      notify();
      await nextTurn();
    };
    await waitFor(() => ledger.book.outbox.size === 0, { what: "the job to be bound" });
    await put("a", 2);
    await ledger.commit([record("job.held", { job: heldJobOf("b", { bound: false }) }, "b")], "effect");
    await put("b", 1);
    await waitFor(() => ledger.book.outbox.size === 0, { what: "the other to be bound" });
    await put("a", 3);
    await put("b", 2);
    await clock.advance(25);
    await waitFor(() => ledger.book.outbox.size === 0, { what: "an empty outbox" });
    const calls = server.received("POST /siteagent/v1/reports").map(({ body }) => {
      const { reports: some } = JSON.parse(body) as { reports: Key[] };
      return some.map(({ job, seq }) => `${job}${seq}`).join(" ");
    });
    expect(calls).toEqual(["a1", "a2 b1", "a3 b2"]);
  });

  it.each<[string, Answer]>([
    ["a reset", reset],
    ["a login page", raw(200, "text/html", "<html>log in</html>")],
    ["an answer about nothing", json(200, { results: [] })],
    ["an answer about others", json(200, { results: [{ job: "x", epoch: 1, seq: 1, outcome: "applied" }] })],
    ["a 500", json(500, { detail: "no" })],
  ])("takes %s for no acknowledgement and sends again", async (_, answer) => {
    const { server, ledger } = await startRig(answer, { a: 2 });
    await waitFor(() => server.received("POST /siteagent/v1/reports").length > 0, { what: "the first try" });
    expect(ledger.book.outbox.get("a")?.length).toBe(2);
    server.on("POST /siteagent/v1/reports", applied);
    await waitFor(() => ledger.book.outbox.size === 0, { what: "an empty outbox" });
  });

  it("parks what central refuses, keeps what follows behind it, and serves the other jobs", async () => {
    const answer = reports(({ job }) => (job === "a" ? { outcome: "refused", detail: "no" } : { outcome: "applied" }));
    const { ledger, sent } = await startRig(answer, { a: 2, b: 2 });
    await waitFor(() => !ledger.book.outbox.has("b") && ledger.book.outbox.get("a")?.[0]?.parked !== undefined, {
      what: "b sent and a parked",
    });
    expect(ledger.book.outbox.get("a")?.map((entry) => entry.parked)).toEqual(["parked", undefined]);
    expect(sent().filter((name) => name === "b2")).toHaveLength(1);
  });

  it("does not hammer central when it misses an earlier report, and serves the other jobs meanwhile", async () => {
    const answer = reports(({ job }) => (job === "a" ? { outcome: "gap", expected_seq: 1 } : { outcome: "applied" }));
    const { server, ledger, notify } = await startRig(answer, { a: 2 });
    await waitFor(() => server.received("POST /siteagent/v1/reports").length > 0, { what: "the first try" });
    for (let n = 1; n <= 20; n++) {
      const id = `b${n}`;
      await ledger.commit([record("out.put", { report: reportOf(id, 1) }, id)], "report");
      notify();
      await waitFor(() => !ledger.book.outbox.has(id), { what: `${id} to be sent` });
    }
    // The 20 of the others, and tries for `a` as the backoff allows: not one for each wake-up.
    expect(server.received("POST /siteagent/v1/reports").length).toBeLessThan(35);
    expect(ledger.book.outbox.get("a")?.length).toBe(2);
  });

  it("drops a report of an earlier claim that central fences, and leaves the newer claim alone", async () => {
    const answer = reports(({ epoch }) => ({ outcome: epoch === 1 ? "fenced" : "applied" }));
    const { ledger, fenced, notify } = await startRig(answer, {});
    await ledger.commit([record("job.held", { job: heldJobOf("a", { epoch: 2, bound: false }) }, "a")], "effect");
    await ledger.commit(
      [
        record("out.put", { report: reportOf("a", 3) }, "a"),
        record("out.put", { report: reportOf("a", 1, { epoch: 2 }) }, "a"),
      ],
      "report",
    );
    notify();
    await waitFor(() => ledger.book.outbox.size === 0, { what: "an empty outbox" });
    expect(fenced).toEqual([]);
    expect(ledger.book.jobs.get("a")?.bound).toBe(true);
  });

  it("says once that a job is fenced", async () => {
    const { ledger, fenced } = await startRig(
      reports(({ job }) => ({ outcome: job === "a" ? "fenced" : "applied" })),
      { a: 3, b: 1 },
    );
    await waitFor(() => ledger.book.outbox.size === 0, { what: "an empty outbox" });
    expect(fenced).toEqual(["a"]);
  });
});
