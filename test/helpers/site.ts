/**
 * A whole installation for a test: a real hub, a real agent process with its runner, apps that are small shell programs which
 * leave a trace of every start, and the oracle that balances the books at the end.
 */
import { randomBytes } from "node:crypto";
import { chmod, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { dirname, join } from "node:path";
import { stringify } from "yaml";
import type { FailpointName } from "../../src/common/failpoints.ts";
import { cgroupBase } from "../../src/runner/cgroups.ts";
import { createHubClient, type HubClient } from "../../src/sdk/client.ts";
import { Canaries, leaksInFiles, leaksInProcesses, leaksInText, writeHubCredentials } from "./canary.ts";
import { cleanEnvironment, repository, siteagentBin } from "./cli.ts";
import { counted, endInOrder } from "./counted.ts";
import { type BookedEvent, imbalances, installationProcesses, isRunner } from "./oracle.ts";
import { removeGroups } from "./own-cgroup.ts";
import { killIfThere } from "./processes.ts";
import { Program } from "./program.ts";
import { type Resident, Rest } from "./rest.ts";
import { temporaryDirectory } from "./temporary.ts";
import { waitFor } from "./wait.ts";
import { control } from "../integration/agent/control.ts";

export interface HubAccess {
  readonly url: string;
  readonly admin: { readonly username: string; readonly password: string };
  readonly site: { readonly id: string; readonly client_id: string; readonly client_secret: string };
}

export interface TestSiteOptions {
  /** Added to (or over) the app's defaults, by name; `workflow` is the app's name, `$DELIVERED` the URL of `delivered`. */
  readonly apps: Readonly<Record<string, Record<string, unknown>>>;
  readonly dialect?: "auto" | "nmdc" | "hub";
  /** A hub without `/siteagent/v1/`: only what works through the NMDC contract can be asked of this site. */
  readonly plain?: boolean;
  readonly slots?: number;
  /** In place of the launcher `local`: further keys of the target that apps have unless they say another. */
  readonly target?: Readonly<Record<string, unknown>>;
  /** More targets, by name; each on the only host. */
  readonly targets?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Where its directory is made, if that matters. */
  readonly parent?: string;
  readonly agent?: Readonly<Record<string, unknown>>;
  /** Adapters of its own, as the site file has them. */
  readonly adapters?: Readonly<Record<string, { readonly module: string; readonly options?: unknown }>>;
  /** Further keys of the only host. */
  readonly host?: Readonly<Record<string, unknown>>;
  /** Failpoints can be armed while agent, runner and hub run, see `arm`. */
  readonly armable?: boolean;
  /** Of inputs, as the site file has it. */
  readonly cache?: Readonly<Record<string, unknown>>;
  /** More places that inputs may come from. */
  readonly sources?: readonly string[];
  /** Hub and agent are started as people start them: `bin/siteagent`, which runs the release build where there is one. */
  readonly release?: boolean;
}

/** What to start, before the arguments. */
function programOf(options: Pick<TestSiteOptions, "release">): readonly [string, ...string[]] {
  return options.release === true ? [siteagentBin] : [process.execPath, join(repository, "src", "main.ts")];
}

/** Below the root: where secrets may lie. The hub's file and standard output tell those that `--dev` is there to tell. */
const homesOfSecrets = [
  /^secret$/,
  /^site-secrets\/[^/]+$/,
  /^hub\/dev-credentials\.json$/,
  /^work\/[^/]+\/secrets\/[^/]+$/,
];

/** What both kinds of hub tell of a job. */
export interface SeenJob {
  readonly id: string;
  readonly op_id: string | null;
  readonly status: string;
  readonly state: string;
  readonly attempt: number;
  readonly ended_at: string | null;
}

export class TestSite implements AsyncDisposable {
  readonly root: string;
  readonly siteFile: string;
  /** Each start and exit of an attempt adds a line to this file; what the oracle counts. */
  readonly traceFile: string;
  /** Failpoints are armed here while processes run, see `arm`. */
  readonly #failpoints: string;
  readonly delivered: string;
  hub: Program;
  readonly access: HubAccess;
  readonly client: HubClient;
  agent: Program | undefined;
  /** All secrets of this site, marked: at its end none may be anywhere but at home. */
  readonly canaries: Canaries;
  readonly #agents: Program[] = [];
  readonly #hubs: Program[] = [];
  readonly #rest: Rest;
  readonly #resources: AsyncDisposableStack;
  readonly #options: TestSiteOptions;

  private constructor(
    root: string,
    hub: Program,
    access: HubAccess,
    canaries: Canaries,
    resources: AsyncDisposableStack,
    options: TestSiteOptions,
  ) {
    this.root = root;
    this.#rest = new Rest(root);
    this.canaries = canaries;
    this.#hubs.push(hub);
    this.siteFile = join(root, "site.yaml");
    this.traceFile = join(root, "trace");
    this.#failpoints = join(root, "failpoints");
    this.delivered = join(root, "delivered");
    this.hub = hub;
    this.access = access;
    this.#resources = resources;
    this.#options = options;
    this.client = createHubClient({
      url: access.url,
      username: access.admin.username,
      password: access.admin.password,
    });
    resources.use(this.client);
  }

  static async start(options: TestSiteOptions): Promise<TestSite> {
    const resources = new AsyncDisposableStack();
    try {
      const { path: root } = resources.use(await temporaryDirectory("sa-", options.parent));
      for (const name of ["hub", "delivered", "state", "run", "work", "home", "failpoints"])
        await mkdir(join(root, name), { mode: 0o700 });
      const canaries = new Canaries();
      await writeHubCredentials(join(root, "hub"), canaries);
      const hub = await startHubProcess(root, 0, options);
      const access = JSON.parse((await hub.output(credentialsLine, { timeoutMs: 120_000 })).at(0) ?? "") as HubAccess;
      const site = new TestSite(root, hub, access, canaries, resources, options);
      await site.#writeSiteFile();
      if (options.plain !== true) {
        for (const workflow of Object.keys(options.apps)) {
          await site.client.registries.putWorkflow(workflow, { name: workflow });
        }
      }
      return site;
    } catch (error) {
      await resources.disposeAsync();
      throw error;
    }
  }

  /** Starts the agent and waits until it listens on its control socket, unless it is not to. */
  async startAgent(
    options: {
      readonly failpoints?: string;
      readonly wait?: boolean;
      readonly args?: readonly string[];
      readonly env?: Readonly<Record<string, string>>;
    } = {},
  ): Promise<Program> {
    const env = {
      ...cleanEnvironment(join(this.root, "home")),
      ...options.env,
      ...(this.#options.armable === true ? armable(this.root) : {}),
      ...(options.failpoints === undefined ? {} : { SITEAGENT_TEST: "1", SITEAGENT_FAILPOINTS: options.failpoints }),
    };
    const [program, ...first] = programOf(this.#options);
    const args = [...first, "run", "--config", this.siteFile, ...(options.args ?? [])];
    this.agent = await Program.start(program, args, { env, cwd: this.root, input: "" });
    this.#agents.push(this.agent);
    if (options.wait !== false)
      await waitFor(() => accepts(join(this.root, "run", "agent.sock")), {
        what: () => `the control socket\n${this.agent?.stdout.slice(-2000)}\n${this.agent?.stderr.slice(-2000)}`,
        timeoutMs: 60_000,
      });
    return this.agent;
  }

  /** SIGKILL, and nothing of it is left. */
  async killAgent(): Promise<void> {
    this.agent?.signal("SIGKILL");
    await this.agent?.finished;
  }

  async killHub(): Promise<void> {
    this.hub.signal("SIGKILL");
    await this.hub.finished;
  }

  /** The same data and port as before. */
  async restartHub(): Promise<void> {
    this.hub = await startHubProcess(this.root, Number(new URL(this.access.url).port), this.#options);
    this.#hubs.push(this.hub);
    await this.hub.output(credentialsLine, { timeoutMs: 120_000 });
  }

  /** The pid of the runner; undefined when there is none just now. */
  get runnerPid(): number | undefined {
    return installationProcesses(this.root).find(isRunner)?.pid;
  }

  /** SIGKILL to the runner process; attempts go on under their recorders. */
  killRunner(): void {
    if (!this.tryKillRunner()) throw new Error("no runner of this installation");
  }

  /** The same; false when there is no runner just now. */
  tryKillRunner(): boolean {
    const pid = this.runnerPid;
    if (pid === undefined) return false;
    process.kill(pid, "SIGKILL");
    return true;
  }

  /** From now on the first process of this installation that passes the point does what is said there, once. */
  async arm(point: FailpointName, action: "kill" | "hang" | "error" | `delay:${number}`): Promise<void> {
    await rm(join(this.#failpoints, `${point}.reached`), { force: true });
    const path = join(this.#failpoints, point);
    await writeFile(`${path}.new`, action);
    await rename(`${path}.new`, path);
  }

  /** Nobody passed it, and nobody is to die there any more. */
  async disarm(point: FailpointName): Promise<void> {
    await rm(join(this.#failpoints, point), { force: true });
  }

  /** True when an armed point was passed. */
  async reached(point: FailpointName): Promise<boolean> {
    return stat(join(this.#failpoints, `${point}.reached`)).then(
      () => true,
      () => false,
    );
  }

  async submit(
    workflow: string,
    config: Record<string, string | number | boolean> = {},
  ): Promise<{ readonly id: string }> {
    if (this.#options.plain !== true) return this.client.submit({ workflow, config });
    const answer = await fetch(`${this.access.url}/jobs`, {
      method: "POST",
      headers: { authorization: `Bearer ${await this.#siteToken()}`, "content-type": "application/json" },
      body: JSON.stringify({ workflow: { id: workflow }, config, claims: [] }),
    });
    return (await answer.json()) as { id: string };
  }

  /** A data object of the site, with these fields instead of some that any object has; returns its id. */
  async newObject(fields: Readonly<Record<string, unknown>> = {}): Promise<string> {
    const checksum = randomBytes(16).toString("hex");
    const answer = await fetch(`${this.access.url}/objects`, {
      method: "POST",
      headers: { authorization: `Bearer ${await this.#siteToken()}`, "content-type": "application/json" },
      body: JSON.stringify({
        name: "reads.fq",
        size: 4,
        created_time: "2026-01-01T00:00:00Z",
        checksums: [{ type: "sha256", checksum }],
        access_methods: [{ type: "https", access_url: { url: "https://data.example/reads.fq" } }],
        ...fields,
      }),
    });
    return ((await answer.json()) as { id: string }).id;
  }

  /** Sets the types of an object, for which triggers may stand. */
  async setTypes(object: string, types: readonly string[]): Promise<void> {
    const answer = await fetch(`${this.access.url}/objects/${object}/types`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(types),
    });
    if (!answer.ok) throw new Error(`the types were not set: ${answer.status} ${await answer.text()}`);
    await answer.text();
  }

  /** Where a job is: from the hub's own view, on a plain hub from the claim's operation as any NMDC client reads it. */
  async view(id: string): Promise<SeenJob> {
    if (this.#options.plain !== true) return this.client.job(id);
    const filter = encodeURIComponent(JSON.stringify({ "metadata.job.id": id }));
    const list = (await (await fetch(`${this.access.url}/operations?filter=${filter}`)).json()) as {
      resources: { id: string }[];
    };
    const op = list.resources.at(-1)?.id ?? null;
    if (op === null) return { id, op_id: null, status: "PENDING", state: "READY", attempt: 0, ended_at: null };
    const { done, metadata } = await this.operation(op);
    const told = metadata["siteagent"] as { state: string; status: string; attempt: number; at: string } | undefined;
    const { state = "READY", status = "PENDING", attempt = 0 } = told ?? {};
    return { id, op_id: op, status, state, attempt, ended_at: done ? (told?.at ?? "unknown") : null };
  }

  async waitFor<Seen extends SeenJob>(
    id: string,
    condition: (job: Seen) => boolean,
    what: string,
    timeoutMs = 30_000,
  ): Promise<Seen> {
    let last: Seen | undefined;
    await waitFor(
      async () => {
        last = (await this.view(id)) as Seen;
        return condition(last);
      },
      {
        what: () =>
          `${what}; it is ${JSON.stringify(last)}\n${this.agent?.running === true ? "the agent runs" : "THE AGENT HAS ENDED"}\n${this.agent?.stdout.slice(-3000)}\n${this.agent?.stderr.slice(-1000)}`,
        timeoutMs,
      },
    );
    return last as Seen;
  }

  async ended(id: string, timeoutMs?: number): Promise<SeenJob> {
    return this.waitFor(id, (job) => job.ended_at !== null, `the end of job ${id}`, timeoutMs);
  }

  /** The work/ directory of the only job. */
  async workDirectory(): Promise<string> {
    const [token, ...more] = await readdir(join(this.root, "work"));
    if (token === undefined || more.length > 0) throw new Error("not exactly one job has a directory");
    return join(this.root, "work", token, "work");
  }

  /** An operation by the plain NMDC route, which needs no token. */
  async operation(
    id: string | null,
  ): Promise<{ readonly done: boolean; readonly result: unknown; readonly metadata: Record<string, unknown> }> {
    const answer = await fetch(`${this.access.url}/operations/${id ?? ""}`);
    return (await answer.json()) as { done: boolean; result: unknown; metadata: Record<string, unknown> };
  }

  /** Edits the site file as text, before or while the agent runs. */
  async replaceInSiteFile(from: string, to: string): Promise<void> {
    const text = await readFile(this.siteFile, "utf8");
    if (!text.includes(from)) throw new Error(`the site file has no '${from}'`);
    await writeFile(this.siteFile, text.replaceAll(from, to), { mode: 0o600 });
  }

  /** How often each attempt token was started. */
  async starts(): Promise<ReadonlyMap<string, number>> {
    const text = await readFile(this.traceFile, "utf8").catch(() => "");
    const counts = new Map<string, number>();
    for (const [, token = ""] of text.matchAll(/^(\S+) \d+ start /gm)) counts.set(token, (counts.get(token) ?? 0) + 1);
    return counts;
  }

  /** What the oracle says of these jobs and of the whole installation; empty = balanced. */
  async imbalances(ids: readonly string[]): Promise<readonly string[]> {
    return imbalances(
      {
        root: this.root,
        living: [...residents("hub", [this.hub]), ...residents("agent", [...this.#agents, this.agent])],
        rest: this.#rest,
        traceFile: this.traceFile,
        job: (id) => this.view(id),
        events: (id) => this.#events(id),
        knownDirectories: () => this.#knownDirectories(),
      },
      ids,
    );
  }

  /** A file for an app's secret parameter, with a marked secret in it. */
  async secretFile(name: string): Promise<string> {
    const path = join(this.root, "site-secrets", name);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await writeFile(path, this.canaries.make(`the secret '${name}'`), { mode: 0o600 });
    return path;
  }

  /** Where marked secrets are though they should not be, as far as files, processes and what agents and hubs wrote tell. */
  async leaks(): Promise<readonly string[]> {
    const { canaries, root } = this;
    return [
      ...leaksInProcesses(canaries, root),
      ...this.#agents.flatMap((agent) => leaksInText(agent.stdout + agent.stderr, canaries, "what the agent wrote")),
      ...this.#hubs.flatMap(({ stdout, stderr }) =>
        leaksInText(stdout.replace(credentialsLine, "") + stderr, canaries, "what the hub wrote"),
      ),
      ...(await leaksInFiles(root, canaries, homesOfSecrets)),
    ];
  }

  /** Ends all processes; the files stay until the site is disposed of. */
  async stopAll(): Promise<void> {
    await this.agent?.stop(counted ? { killAfterMs: 5_000 } : { signal: "SIGKILL" });
    this.hub.signal("SIGTERM");
    await this.hub.finished;
    await endInstallation(this.root);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const running = leaksInProcesses(this.canaries, this.root);
    await this.stopAll();
    const leaks = [...running, ...(await this.leaks())];
    await this.#resources.disposeAsync();
    if (leaks.length > 0) throw new Error(`secrets are where they should not be:\n${[...new Set(leaks)].join("\n")}`);
  }

  async #siteToken(): Promise<string> {
    const { client_id, client_secret } = this.access.site;
    const form = new URLSearchParams({ grant_type: "client_credentials", client_id, client_secret });
    const answer = await fetch(`${this.access.url}/token`, { method: "POST", body: form });
    return ((await answer.json()) as { access_token: string }).access_token;
  }

  async #events(id: string): Promise<readonly BookedEvent[] | undefined> {
    if (this.#options.plain === true) return undefined;
    const { token } = await this.client.login();
    const answer = await fetch(
      `${this.access.url}/siteagent/v1/events?after=0&limit=1000&job=${encodeURIComponent(id)}`,
      { headers: { authorization: `Bearer ${token}` } },
    );
    return ((await answer.json()) as { events: BookedEvent[] }).events;
  }

  async #knownDirectories(): Promise<readonly string[] | undefined> {
    if (this.agent?.running !== true) return undefined;
    const known: string[] = [];
    // A test may run several agents, each with a runtime directory of its own.
    for (const runtime of (await readdir(this.root)).filter((name) => /^run\d*$/.test(name))) {
      const { body } = await control(join(this.root, runtime), "GET", "/v1/jobs").catch(() => ({ body: undefined }));
      if (body === undefined) return undefined;
      known.push(...(body as { jobs: { directory: string }[] }).jobs.map((job) => job.directory));
    }
    return known;
  }

  async #writeSiteFile(): Promise<void> {
    const { access, root } = this;
    await writeFile(join(root, "secret"), access.site.client_secret, { mode: 0o600 });
    await chmod(join(root, "secret"), 0o600);
    const apps = Object.entries(this.#options.apps).map(([name, app]) => [
      name,
      { workflow: name, target: "local", grace: "1s", ...app },
    ]);
    const more = Object.entries(this.#options.targets ?? {});
    const site = {
      site: access.site.id,
      api: {
        url: access.url,
        client_id: access.site.client_id,
        client_secret: { file: "secret" },
        poll: "200ms",
        dialect: this.#options.dialect ?? "auto",
      },
      agent: { state_dir: "state", runtime_dir: "run", report: "full", min_free_space: "1MiB", ...this.#options.agent },
      ...(this.#options.cache && { cache: this.#options.cache }),
      ...(this.#options.adapters === undefined ? {} : { adapters: this.#options.adapters }),
      hosts: { here: { workdir: join(this.root, "work"), ...this.#options.host } },
      targets: {
        local: { host: "here", launcher: "local", slots: this.#options.slots ?? 4, ...this.#options.target },
        ...Object.fromEntries(more.map(([name, target]) => [name, { host: "here", ...target }])),
      },
      policy: {
        sources: [`${access.url}/`, `file://${root}/inputs/`, ...(this.#options.sources ?? [])],
        destinations: [`file://${this.delivered}/`],
      },
      apps: Object.fromEntries(apps),
    };
    const text = stringify(site).replaceAll("$DELIVERED", `file://${this.delivered}`);
    await writeFile(this.siteFile, text, { mode: 0o600 });
  }
}

/**
 * Shell text for an app's command: writes down the attempt's start, then does the given work, then writes down its exit (not where
 * the script ends in `exec` or by a signal). No process is started for it.
 */
export function traced(script: string): string[] {
  const note = (what: string): string =>
    `echo "$SITEAGENT_ATTEMPT_TOKEN $SITEAGENT_ATTEMPT ${what} $job" >> "$SITEAGENT_JOB_DIR/../../trace"`;
  const job = `while read -r key value; do case $key in '"job":') job=\${value#?} job=\${job%??};; esac; done < "$SITEAGENT_JOB_DIR/job.json"`;
  return ["/bin/sh", "-c", `${job}; ${note("start")}; trap '${note("$?")}' EXIT; ${script}`];
}

/** Somebody listens on the socket: one that a killed process left refuses. */
function accepts(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const connection = createConnection(path, () => resolve(true));
  connection.once("error", () => resolve(false));
  return promise.finally(() => connection.destroy());
}

function residents(kind: Resident["kind"], programs: readonly (Program | undefined)[]): Resident[] {
  return [...new Set(programs)].flatMap((one) => (one?.running === true ? [{ kind, pid: one.pid }] : []));
}

/** What a development hub prints first with `-o json`. */
const credentialsLine = /^\{.*\}$/m;

async function startHubProcess(
  root: string,
  port: number,
  options: Pick<TestSiteOptions, "release" | "plain" | "armable">,
): Promise<Program> {
  const [program, ...first] = programOf(options);
  const args = [
    ...first,
    "hub",
    "--dev",
    "--port",
    String(port),
    "--data",
    join(root, "hub"),
    "-o",
    "json",
    ...(options.plain === true ? ["--plain"] : []),
  ];
  const env = cleanEnvironment(join(root, "home"), options.armable === true ? armable(root) : {});
  return Program.start(program, args, { env, cwd: root, input: "" });
}

/** Kills what works in this directory or names it: what a failed test left running, recorders and runner included. */
export async function endInstallation(root: string): Promise<void> {
  if (counted) {
    const ours = installationProcesses(root).filter((entry) => entry.command.includes(join(repository, "src")));
    await endInOrder(ours.map((entry) => entry.pid));
  }
  for (const { pid } of installationProcesses(root)) killIfThere(pid);
  await waitFor(() => installationProcesses(root).length === 0, { what: "the end of the installation's processes" });
  const groups = cgroupBase(join(root, "state"));
  if (groups !== undefined) removeGroups(groups);
}

/** Lets failpoints be armed while the process runs. */
function armable(root: string): Record<string, string> {
  return { SITEAGENT_TEST: "1", SITEAGENT_FAILPOINT_DIRECTORY: join(root, "failpoints") };
}
