/** Answers of central, changed at random: documented faults and nothing else, and no word about a job that was not in the true answer. */
import { beforeAll, expect, it } from "vitest";
import { openCentral } from "../../../src/central/discover.ts";
import type { Central, Report } from "../../../src/central/types.ts";
import { isFault } from "../../../src/common/fault.ts";
import { pick, seeded } from "../../helpers/random.ts";
import { type Answer, raw, type Received, ScriptedServer } from "../../helpers/scripted-server.ts";
import { assignmentOf, emptyAnswer, orderOf } from "../agent/scripted-hub.ts";
import { testContext } from "./context.ts";
import { NmdcWorld } from "./nmdc-world.ts";

const rounds = 1_500;
/** What a call to central may throw (src/central/types.ts). */
const documented = [
  "UNREACHABLE",
  "UNAUTHENTICATED",
  "FORBIDDEN",
  "RATE_LIMITED",
  "INVALID",
  "USAGE",
  "NOT_FOUND",
  "CONFLICT",
  "TOO_LARGE",
  "STALE_EPOCH",
] as const;

/** JSON values that programs trip over. */
const oddities: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e308,
  Number.MAX_SAFE_INTEGER + 2,
  "",
  "x".repeat(5_000),
  "\u0000\ud800\u202e",
  "__proto__",
  "2026-13-45T99:99:99Z",
  [],
  [[[[]]]],
  {},
  { constructor: { prototype: {} } },
];

/** The value with one of its parts replaced, removed, doubled or moved. */
function mutate(value: unknown, random: () => number): unknown {
  if (typeof value !== "object" || value === null || random() < 0.12) return pick(oddities, random);
  if (Array.isArray(value)) {
    const items = [...(value as unknown[])];
    const at = Math.floor(random() * (items.length + 1));
    const choice = random();
    if (choice < 0.2) items.splice(at, 1);
    else if (choice < 0.4)
      items.splice(at, 0, ...(items.length > 0 ? [pick(items, random)] : [pick(oddities, random)]));
    else if (choice < 0.5) items.reverse();
    else if (items.length > 0) items[at % items.length] = mutate(items[at % items.length], random);
    return items;
  }
  const entries = Object.entries(value);
  if (entries.length === 0) return pick(oddities, random);
  const [name, member] = pick(entries, random);
  const choice = random();
  if (choice < 0.15) return Object.fromEntries(entries.filter(([other]) => other !== name));
  if (choice < 0.25) return { ...value, [name]: pick(entries, random)[1] };
  if (choice < 0.3) return { ...value, [`${name}_`]: member };
  return { ...value, [name]: mutate(member, random) };
}

/** The text with a few of its characters changed, lost or doubled. */
function scramble(text: string, random: () => number): string {
  const at = Math.floor(random() * text.length);
  const choice = random();
  if (choice < 0.3) return text.slice(0, at);
  if (choice < 0.6)
    return text.slice(0, at) + pick(['"', "{", "[", "\\", ",", "\u0000", "9"], random) + text.slice(at + 1);
  return text.slice(0, at) + text.slice(Math.max(0, at - 10));
}

/** Spoils what the answer would have been. */
function spoiled(answer: Answer, random: () => number): Answer {
  return async (request, response) => {
    const end = response.end.bind(response);
    let status = 200;
    response.writeHead = ((code: number) => {
      status = code;
      return response;
    }) as typeof response.writeHead;
    response.end = ((body: string) => {
      response.writeHead = Object.getPrototypeOf(response).writeHead as typeof response.writeHead;
      response.end = end;
      const value = JSON.parse(body) as unknown;
      const text = random() < 0.8 ? JSON.stringify(mutate(value, random)) : scramble(body, random);
      const code = random() < 0.9 ? status : pick([201, 204, 301, 400, 403, 404, 409, 410, 413, 418, 422, 500], random);
      void raw(code, "application/json", code === 204 ? "" : text)(request, response);
      return response;
    }) as typeof response.end;
    await answer(request, response);
  };
}

/** A fault that is documented, or the value. */
async function outcomeOf<Value>(call: Promise<Value>): Promise<Value | undefined> {
  try {
    return await call;
  } catch (error) {
    if (!isFault(error, ...documented)) throw error;
    return undefined;
  }
}

const reports: readonly Report[] = ["a", "b", "c"].map((job) => {
  return {
    job,
    op_id: `op-${job}`,
    epoch: 2,
    seq: 3,
    attempt: 0,
    state: "READY",
    phase: "claimed",
    at: "2026-03-01T10:00:00.000Z",
    done: false,
  };
});

beforeAll(() => {
  // A polluted prototype would show in every object.
  expect(Reflect.ownKeys(Object.prototype)).toHaveLength(12);
});

function answerTo({ path, body }: Received): unknown {
  if (path === "/token")
    return { access_token: "t1", token_type: "bearer", expires: { days: 1, hours: 0, minutes: 0 } };
  if (path.endsWith("/synchronize")) {
    const lists = { assign: [assignmentOf("a"), assignmentOf("b", 2)], orders: [orderOf("o", "cancel", "c")] };
    return {
      ...emptyAnswer,
      ...lists,
      fenced: [{ job: "f", reason: "r" }],
      missing: [{ job: "m", epoch: 1 }],
      unknown: [{ job: "u" }],
    };
  }
  if (path.endsWith("/reports")) {
    const { reports: sent } = JSON.parse(body) as { reports: Report[] };
    return { results: sent.map(({ job, epoch, seq }) => ({ job, epoch, seq, outcome: "applied" })) };
  }
  if (path.endsWith(":claim")) return assignmentOf("a");
  if (path.endsWith(":release")) return { id: "a" };
  return { offset: 10 };
}

it("the hub's answers, changed at random: only documented faults, only words about what was asked", async () => {
  const random = seeded(20_260_301);
  await using server = await ScriptedServer.start();
  let honest = true;
  const answer: Answer = (request, response) => {
    const truth: Answer = (received, out) =>
      raw(200, "application/json", JSON.stringify(answerTo(received)))(received, out);
    return (honest || random() < 0.2 ? truth : spoiled(truth, random))(request, response);
  };
  for (const method of ["GET", "POST", "PUT"]) server.on(`${method} /*`, answer);
  await using central = await openCentral({
    url: server.url,
    site: "lab-a",
    agentId: "agent-1",
    clientId: "c",
    clientSecret: async () => "s",
    dialect: "hub",
    timeoutMs: 5_000,
  });
  const calls: readonly ((central: Central) => Promise<void>)[] = [
    async (to) => {
      const request = { agent_id: "a", instance_id: "i", version: "0", state: "running" } as const;
      const answered = await outcomeOf(to.synchronize(request, testContext()));
      for (const { epoch, spec } of answered?.assign ?? []) {
        expect(Number.isSafeInteger(epoch) && epoch >= 1 && typeof spec.workflow === "string").toBe(true);
      }
    },
    async (to) => {
      const results = await outcomeOf(to.report(reports, testContext()));
      // Each result is about its report; nothing else is ever taken for an acknowledgement.
      if (results)
        expect(results.map(({ job, epoch, seq }) => `${job} ${epoch} ${seq}`)).toEqual(["a 2 3", "b 2 3", "c 2 3"]);
    },
    async (to) => {
      const claim = await outcomeOf(to.claim("a", testContext()));
      if (claim?.state === "won") expect(Number.isSafeInteger(claim.epoch)).toBe(true);
    },
    async (to) => {
      const held = { job: "a", opId: "o", epoch: 1, reason: "" };
      const released = await outcomeOf(to.release(held, testContext()));
      expect([undefined, "released", "gone"]).toContain(released);
    },
    async (to) => {
      const chunk = { job: "a", epoch: 1, attempt: 1, stream: "stdout", offset: 0, bytes: Buffer.from("x") } as const;
      const offset = await outcomeOf(to.putLog(chunk, testContext()));
      if (offset !== undefined) expect(Number.isSafeInteger(offset) && offset >= 0).toBe(true);
    },
  ];
  for (let round = 0; round < rounds; round++) {
    honest = round % 50 === 0;
    await pick(calls, random)(central);
  }
  expect(Reflect.ownKeys(Object.prototype)).toHaveLength(12);
});

it("the answers of an NMDC Runtime, changed at random: only documented faults, nobody else's job is taken for ours", async () => {
  const random = seeded(20_260_302);
  await using world = await NmdcWorld.start();
  const routes = [
    "GET /jobs",
    "GET /jobs/*",
    "POST /jobs/*",
    "GET /operations",
    "GET /operations/*",
    "PATCH /operations/*",
  ];
  let honest = true;
  for (const route of routes) {
    const truth = world.server.lasting(route);
    world.server.on(route, (request, response) => {
      return (honest || random() < 0.6 ? truth : spoiled(truth, random))(request, response);
    });
  }
  await using central = await openCentral({
    url: world.server.url,
    site: "lab-a",
    agentId: "agent-1",
    clientId: "client-lab-a",
    clientSecret: async () => "s",
    dialect: "nmdc",
    timeoutMs: 5_000,
    heldCheckMs: 0,
  });
  const request = { agent_id: "a", instance_id: "i", version: "0", state: "running" } as const;
  for (let round = 0; round < rounds / 5; round++) {
    const [job, taken] = [`job-${round}`, `taken-${round}`];
    world.addJob(job);
    world.addJob(taken);
    const theirs = world.claim(taken, "lab-b");
    theirs.metadata["siteagent"] = { state: "RUNNING", seq: 4 };
    honest = false;
    const held = [{ job, epoch: 1, seq: 1, state: "READY" as const }];
    await outcomeOf(central.synchronize({ ...request, held, free: [{ workflow: "w", slots: 3 }] }, testContext()));
    const claim = await outcomeOf(central.claim(job, testContext()));
    await outcomeOf(central.claim(taken, testContext()));
    const opId = claim?.state === "won" ? claim.opId : theirs.id;
    const [report] = reports;
    if (report) await outcomeOf(central.report([{ ...report, job, op_id: opId, epoch: 1, seq: 1 }], testContext()));
    honest = true;
    // Whatever we were told: the other site's operation is as it was.
    expect(theirs).toMatchObject({
      done: false,
      metadata: { site_id: "lab-b", siteagent: { state: "RUNNING", seq: 4 } },
    });
    expect(theirs.metadata["cancelled"]).toBeNull();
    // Told the truth it finds one claim of its own again, however many the lies made.
    const again = await central.claim(job, testContext());
    expect(again.state).toBe("won");
    expect(world.live(job)).toHaveLength(1);
  }
});
