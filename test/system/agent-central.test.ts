/** A central API that is away, lies or is shared with another agent; and what reaches it: logs whole, secrets never. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  type Answer,
  cutAfter,
  drip,
  endless,
  json,
  raw,
  type Received,
  reset,
  ScriptedServer,
  silent,
} from "../helpers/scripted-server.ts";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";
import { Control } from "../integration/agent/control.ts";

const untilGo = { command: traced("while [ ! -e go ]; do sleep 0.05; done; exit 0") };
const quick = { command: traced("exit 0") };

/** A server between agent and hub that passes everything on, or answers itself while it has a lie. */
class Middleman implements AsyncDisposable {
  readonly server: ScriptedServer;
  lie: Answer | undefined;
  told = 0;
  /** Requests that are carried out and whose answer gets lost, once. */
  loses: ((request: Received) => boolean) | undefined;

  private constructor(server: ScriptedServer, hub: string) {
    this.server = server;
    const pass: Answer = async (request, response) => {
      if (this.lie && request.path.startsWith("/siteagent/")) {
        this.told++;
        return await this.lie(request, response);
      }
      const { host: _, connection: _c, "content-length": _l, ...headers } = request.headers;
      try {
        const answer = await fetch(`${hub}${request.path}?${request.query.toString()}`, {
          method: request.method,
          headers: headers as Record<string, string>,
          ...(request.method === "GET" || request.method === "HEAD" ? {} : { body: request.body }),
        });
        if (this.loses?.(request)) {
          this.loses = undefined;
          response.socket?.destroy();
          return;
        }
        response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "" });
        response.end(Buffer.from(await answer.arrayBuffer()));
      } catch {
        response.socket?.destroy();
      }
    };
    for (const method of ["GET", "POST", "PUT", "PATCH"]) server.on(`${method} /*`, pass);
  }

  static async start(hub: string): Promise<Middleman> {
    return new Middleman(await ScriptedServer.start(), hub);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}

const sync = {
  session_epoch: 1,
  session_current: true,
  next_sync_ms: 0,
  server_time: "2026-01-01T00:00:00.000Z",
  assign: [],
  orders: [],
};
const lies: readonly (readonly [string, Answer])[] = [
  ["a login page", raw(200, "text/html", "<html>log in</html>")],
  ["a 404 of a balancer", raw(404, "text/html", "<h1>not here</h1>")],
  ["a cut answer", cutAfter(sync, 20)],
  ["a reset", reset],
  ["an endless answer", endless],
  ["a redirect elsewhere", raw(302, "text/plain", "", { location: "http://127.0.0.1:1/" })],
  ["an empty body", raw(200, "application/json", "")],
  ["another shape", json(200, { fenced: "all of them" })],
  ["a refusal of the token", json(401, { detail: "no" })],
  ["too many requests", raw(429, "application/json", "{}", { "retry-after": "1" })],
  ["prototype pollution", raw(200, "application/json", '{"__proto__":{"fenced":[]},"assign":[]}')],
];

describe("a central API that lies", () => {
  it("harms no running job; what happened meanwhile is reported in order when it is honest again", async () => {
    await using site = await TestSite.start({ apps: { untilGo, quick } });
    await using middleman = await Middleman.start(site.access.url);
    await site.replaceInSiteFile(`url: ${site.access.url}`, `url: ${middleman.server.url}`);
    await site.startAgent();
    const { id } = await site.submit("untilGo");
    await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
    const control = new Control(site);
    for (const [name, lie] of lies) {
      const { told } = middleman;
      middleman.lie = lie;
      await control.post("/v1/sync");
      middleman.server.resetConnections();
      await waitFor(() => middleman.told > told, { what: `the lie: ${name}`, timeoutMs: 30_000 });
      middleman.lie = undefined;
      await control.until(`after ${name}`, ({ api, jobs }) => api.reachable && jobs.length === 1, 60_000);
      expect(await control.job(id), name).toMatchObject({ state: "RUNNING", fenced: null, hold: null });
    }
    middleman.lie = drip;
    middleman.server.resetConnections();
    await writeFile(join(await site.workDirectory(), "go"), "");
    await control.untilJob("the end here", id, (job) => job.ended_at !== null);
    middleman.lie = silent;
    middleman.server.resetConnections();
    middleman.lie = undefined;
    middleman.server.resetConnections();
    expect(await site.ended(id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(await site.imbalances([id])).toEqual([]);
  });
});

describe("a central API whose answer gets lost", () => {
  it("A3, A5: after a claim or a report: it is found out without a restart, and the job runs once", async () => {
    await using site = await TestSite.start({ dialect: "nmdc", apps: { quick } });
    await using middleman = await Middleman.start(site.access.url);
    await site.replaceInSiteFile(`url: ${site.access.url}`, `url: ${middleman.server.url}`);
    middleman.loses = ({ method, path }) => method === "POST" && path.endsWith(":claim");
    await site.startAgent();
    const { id } = await site.submit("quick");
    await waitFor(() => middleman.loses === undefined, { what: "the lost claim", timeoutMs: 30_000 });
    middleman.loses = ({ method, path }) => method === "PATCH" && path.startsWith("/operations/");
    expect(await site.ended(id, 60_000)).toMatchObject({ status: "FINISHED" });
    expect(middleman.loses).toBeUndefined();
    expect((await site.starts()).size).toBe(1);
    expect(await site.imbalances([id])).toEqual([]);
    const claims = middleman.server.requests.filter(({ path }) => path.endsWith(":claim"));
    expect(claims).toHaveLength(1);
  });
});

describe("a central API that is away", () => {
  it("A1: at the start: the socket answers, what runs is adopted and ends; work is taken when it is back", async () => {
    await using site = await TestSite.start({ apps: { untilGo, quick } });
    await site.startAgent();
    const { id } = await site.submit("untilGo");
    await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
    const late = await site.submit("quick");
    await site.ended(late.id);
    await site.killAgent();
    await site.killHub();
    await site.startAgent();
    const control = new Control(site);
    const status = await control.until("not reachable", ({ api }) => !api.reachable && api.last_error !== null);
    expect(status.mode).toBe("running");
    await writeFile(join(await workOf(control, id), "go"), "");
    await control.untilJob("the end here", id, (job) => job.state === "JOB_FINISHED" && job.unsent > 0);
    await site.restartHub();
    const after = await site.submit("quick");
    expect(await site.ended(id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(await site.ended(after.id, 60_000)).toMatchObject({ status: "FINISHED" });
    expect(await site.imbalances([id, late.id, after.id])).toEqual([]);
  });
});

describe("two agents of one site", () => {
  it("with state directories of their own: the newer one gets the work, the older one says so and ends what it runs", async () => {
    await using site = await TestSite.start({ apps: { untilGo, quick } });
    const older = await site.startAgent();
    const { id } = await site.submit("untilGo");
    await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
    const work = await site.workDirectory();
    await site.replaceInSiteFile("state_dir: state", "state_dir: state2");
    await site.replaceInSiteFile("runtime_dir: run", "runtime_dir: run2");
    // The running one does not follow: places need a restart.
    await site.startAgent({ wait: false });
    const newer = site.agent;
    try {
      await new Control(site, "run2").until("the newer one", ({ api }) => api.last_sync_at !== null);
      const control = new Control(site);
      await control.until("a word about it", ({ problems }) => problems.some(({ what }) => /another agent/.test(what)));
      const { id: other } = await site.submit("quick");
      expect(await site.ended(other)).toMatchObject({ status: "FINISHED" });
      expect((await control.status()).jobs.map((job) => job.id)).toEqual([id]);
      await writeFile(join(work, "go"), "");
      expect(await site.ended(id)).toMatchObject({ status: "FINISHED", attempt: 1 });
      expect(await site.imbalances([id, other])).toEqual([]);
    } finally {
      older.signal("SIGKILL");
      await older.finished;
      newer?.signal("SIGKILL");
      await newer?.finished;
    }
  });
});

describe("logs", () => {
  const talks = {
    command: traced("seq 1 20000; seq 1 300 >&2; touch half; while [ ! -e go ]; do sleep 0.05; done; seq 1 5000"),
  };

  it("of an attempt are on the hub as on the disk, byte by byte, also when the agent was killed in between", async () => {
    await using site = await TestSite.start({ apps: { talks } });
    await site.startAgent();
    const { id } = await site.submit("talks");
    await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
    const work = await site.workDirectory();
    await waitFor(() => readdir(work).then((names) => names.includes("half")), { what: "the first half" });
    await site.killAgent();
    await site.startAgent();
    await writeFile(join(work, "go"), "");
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED" });
    const { attempts } = await new Control(site).job(id);
    for (const [stream, file] of [
      ["stdout", "out"],
      ["stderr", "err"],
    ] as const) {
      const disk = await readFile(join(attempts[0]?.directory ?? "", file), "utf8");
      expect(disk.length).toBeGreaterThan(1000);
      await waitFor(async () => (await hubLog(site, id, stream)).length >= disk.length, { what: `all of ${stream}` });
      expect(await hubLog(site, id, stream)).toBe(disk);
    }
  });

  it("stay on the site that reports the minimum", async () => {
    await using site = await TestSite.start({
      agent: { report: "minimal" },
      apps: { talks: { command: traced("echo some output; exit 0") } },
    });
    await site.startAgent();
    const { id } = await site.submit("talks");
    await site.ended(id);
    expect(await hubLog(site, id, "stdout")).toBe("");
  });
});

async function workOf(control: Control, id: string): Promise<string> {
  await control.untilJob("held", id, () => true);
  return join((await control.job(id)).directory, "work");
}

async function hubLog(site: TestSite, id: string, stream: string): Promise<string> {
  const { token } = await site.client.login();
  const answer = await fetch(`${site.access.url}/siteagent/v1/jobs/${id}/logs/${stream}?offset=0&limit=1000000`, {
    headers: { authorization: `Bearer ${token}` },
  });
  return answer.ok ? await answer.text() : "";
}
