/**
 * A whole installation for a test: a real hub, a real agent process with its runner, apps that are small shell programs which
 * leave a trace of every start, and the oracle that balances the books at the end.
 */
import { readFileSync } from "node:fs";
import { chmod, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { stringify } from "yaml";
import { createHubClient, type HubClient } from "../../src/sdk/client.ts";
import { Canaries, leaksInFiles, leaksInProcesses, leaksInText } from "./canary.ts";
import { cleanEnvironment, repository, siteagentBin } from "./cli.ts";
import { counted, endInOrder } from "./counted.ts";
import { listProcesses } from "./processes.ts";
import { Program } from "./program.ts";
import { temporaryDirectory } from "./temporary.ts";
import { waitFor } from "./wait.ts";

export interface HubAccess {
  readonly url: string;
  readonly admin: { readonly username: string; readonly password: string };
  readonly site: { readonly id: string; readonly client_id: string; readonly client_secret: string };
}

export interface TestSiteOptions {
  /** Added to (or over) the app's defaults, by name; `workflow` is the app's name. */
  readonly apps: Readonly<Record<string, Record<string, unknown>>>;
  readonly dialect?: "auto" | "nmdc" | "hub";
  /** A hub without `/siteagent/v1/`: only what works through the NMDC contract can be asked of this site. */
  readonly plain?: boolean;
  readonly slots?: number;
  readonly agent?: Readonly<Record<string, unknown>>;
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
  /** Each start of an attempt adds its token to this file; what the oracle counts. */
  readonly startsFile: string;
  readonly delivered: string;
  hub: Program;
  readonly access: HubAccess;
  readonly client: HubClient;
  agent: Program | undefined;
  /** All secrets of this site, marked: at its end none may be anywhere but at home. */
  readonly canaries: Canaries;
  readonly #agents: Program[] = [];
  readonly #hubs: Program[] = [];
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
    this.canaries = canaries;
    this.#hubs.push(hub);
    this.siteFile = join(root, "site.yaml");
    this.startsFile = join(root, "starts");
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
      const { path: root } = resources.use(await temporaryDirectory("sa-"));
      for (const name of ["hub", "delivered", "state", "run", "work", "home"])
        await mkdir(join(root, name), { mode: 0o700 });
      const canaries = new Canaries();
      await writeCredentials(root, canaries);
      const hub = await startHubProcess(root, 0, options);
      const access = JSON.parse((await hub.output(credentialsLine)).at(0) ?? "") as HubAccess;
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

  /** Starts the agent and waits until it has spoken with the hub (or, with failpoints armed, only until it runs). */
  async startAgent(
    options: { readonly failpoints?: string; readonly wait?: boolean; readonly args?: readonly string[] } = {},
  ): Promise<Program> {
    const env = {
      ...cleanEnvironment(join(this.root, "home")),
      ...(options.failpoints === undefined ? {} : { SITEAGENT_TEST: "1", SITEAGENT_FAILPOINTS: options.failpoints }),
    };
    const [program, ...first] = programOf(this.#options);
    const args = [...first, "run", "--config", this.siteFile, ...(options.args ?? [])];
    this.agent = await Program.start(program, args, { env, cwd: this.root, input: "" });
    this.#agents.push(this.agent);
    if (options.wait !== false)
      await waitFor(
        () =>
          readFile(join(this.root, "run", "agent.sock")).catch(
            (error: unknown) => (error as NodeJS.ErrnoException).code === "ENXIO",
          ),
        { what: "the control socket", timeoutMs: 20_000 },
      );
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
    await this.hub.output(credentialsLine);
  }

  /** The pid of the runner; undefined when there is none just now. */
  get runnerPid(): number | undefined {
    return installationProcesses(this.root).find((entry) => /runner[/\\]main\.[tj]s/.test(commandLine(entry.pid)))?.pid;
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
    const text = await readFile(this.startsFile, "utf8").catch(() => "");
    const counts = new Map<string, number>();
    for (const line of text.split("\n").filter((one) => one !== "")) counts.set(line, (counts.get(line) ?? 0) + 1);
    return counts;
  }

  /**
   * The books: every job ended, no attempt token started twice, as many starts as attempts, states reported in an order the table
   * allows, each operation closed once, no process of a job alive, no partial file. Returns what is wrong; empty = balanced.
   */
  async imbalances(ids: readonly string[]): Promise<readonly string[]> {
    const wrong: string[] = [];
    const starts = await this.starts();
    for (const [token, count] of starts) if (count > 1) wrong.push(`attempt ${token} was started ${count} times`);
    for (const id of ids) {
      const job = await this.view(id);
      if (job.ended_at === null) wrong.push(`job ${id} has not ended: ${job.state}`);
      if (this.#options.plain !== true) wrong.push(...(await this.#wrongOrder(id)));
    }
    for (const file of await allFiles(this.root)) if (/\.part-/.test(file)) wrong.push(`partial file ${file}`);
    for (const entry of jobProcesses(this.root))
      wrong.push(`process ${entry.pid} (${entry.command}) of a job is alive`);
    return wrong;
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

  async [Symbol.asyncDispose](): Promise<void> {
    const running = leaksInProcesses(this.canaries, this.root);
    await this.agent?.stop(counted ? { killAfterMs: 5_000 } : { signal: "SIGKILL" });
    this.hub.signal("SIGTERM");
    await this.hub.finished;
    await endInstallation(this.root);
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

  async #wrongOrder(id: string): Promise<readonly string[]> {
    const seen: string[] = [];
    let finals = 0;
    const { token } = await this.client.login();
    const answer = await fetch(
      `${this.access.url}/siteagent/v1/events?after=0&limit=1000&job=${encodeURIComponent(id)}`,
      { headers: { authorization: `Bearer ${token}` } },
    );
    const { events } = (await answer.json()) as { events: { type: string; data: Record<string, unknown> }[] };
    for (const event of events) {
      const state = event.data["state"];
      if (event.type !== "job.state" || typeof state !== "string") continue;
      seen.push(state);
      if (["JOB_FINISHED", "FAILED", "CANCELLED"].includes(state)) finals++;
    }
    return finals === 1 ? [] : [`job ${id} has ${finals} ends: ${seen.join(" ")}`];
  }

  async #writeSiteFile(): Promise<void> {
    const { access, root } = this;
    await writeFile(join(root, "secret"), access.site.client_secret, { mode: 0o600 });
    await chmod(join(root, "secret"), 0o600);
    const apps = Object.entries(this.#options.apps).map(([name, app]) => [
      name,
      { workflow: name, target: "local", grace: "1s", ...app },
    ]);
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
      hosts: { here: { workdir: "work" } },
      targets: { local: { host: "here", launcher: "local", slots: this.#options.slots ?? 4 } },
      policy: {
        sources: [`${access.url}/`, `file://${root}/inputs/`, ...(this.#options.sources ?? [])],
        destinations: [`file://${this.delivered}/`],
      },
      apps: Object.fromEntries(apps),
    };
    await writeFile(this.siteFile, stringify(site), { mode: 0o600 });
  }
}

/** Shell text for an app's command: records the attempt's start where the oracle counts it, then does the given work. */
export function traced(script: string): string[] {
  return ["/bin/sh", "-c", `echo "$SITEAGENT_ATTEMPT_TOKEN" >> "$SITEAGENT_JOB_DIR/../../starts"; ${script}`];
}

/** What a development hub prints first with `-o json`. */
const credentialsLine = /^\{.*\}$/m;

/** A development hub keeps the credentials that it finds: here they are marked ones. */
async function writeCredentials(root: string, canaries: Canaries): Promise<void> {
  const credentials = {
    admin: { username: "admin", password: canaries.make("the administrator's password") },
    site: { id: "local", client_id: "sys0test", client_secret: canaries.make("the client secret") },
  };
  await writeFile(join(root, "hub", "dev-credentials.json"), JSON.stringify(credentials), { mode: 0o600 });
}

async function startHubProcess(
  root: string,
  port: number,
  options: Pick<TestSiteOptions, "release" | "plain">,
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
  return Program.start(program, args, { env: cleanEnvironment(join(root, "home")), cwd: root, input: "" });
}

/** Kills what works in this directory or names it: what a failed test left running, recorders and runner included. */
export async function endInstallation(root: string): Promise<void> {
  if (counted) {
    const ours = installationProcesses(root).filter((entry) => entry.command.includes(join(repository, "src")));
    await endInOrder(ours.map((entry) => entry.pid));
  }
  for (const entry of installationProcesses(root)) {
    try {
      process.kill(entry.pid, "SIGKILL");
    } catch {
      // it ended meanwhile
    }
  }
  await waitFor(() => installationProcesses(root).length === 0, { what: "the end of the installation's processes" });
}

async function allFiles(root: string): Promise<readonly string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

/** Processes that work in a job's directory. */
function jobProcesses(root: string) {
  return listProcesses().filter((entry) => entry.cwd?.startsWith(join(root, "work")) === true);
}

/** Everything that works in the installation's directory or names it on its command line: hub, agent, runner, recorders, jobs. */
function installationProcesses(root: string) {
  return listProcesses().filter(
    (entry) =>
      entry.pid !== process.pid && (entry.cwd?.startsWith(root) === true || commandLine(entry.pid).includes(root)),
  );
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}
