/** What is made to happen so that a failpoint is passed, and how it has to end whoever dies there. */
import { appendFile, mkdir, readdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { LocalJob } from "../../src/wire/control-api.ts";
import type { Control } from "../integration/agent/control.ts";
import { type TestSite, traced } from "./site.ts";
import { waitFor } from "./wait.ts";

export type Dialect = "hub" | "nmdc";

/** A site on which scenarios run one after the other. */
export interface Stage {
  readonly site: TestSite;
  readonly dialect: Dialect;
  readonly control: Control;
}

export interface Scenario {
  /** Does it, and calls `arm` when the point may be armed; whoever dies meanwhile is started again beside it. Returns the jobs. */
  provoke(stage: Stage, arm: () => Promise<void>): Promise<readonly string[]>;
  /** What is still to be done for the jobs to end. */
  finish?(stage: Stage, ids: readonly string[]): Promise<void>;
  readonly status: "FINISHED" | "CANCELLED";
  readonly attempts: number;
}

const hook = { command: ["/bin/true"] };
const untilGo = "while [ ! -e go ]; do sleep 0.05; done";

export const killApps = {
  work: {
    parameters: { url: { type: "string", from: "config.url" } },
    inputs: {
      text: { from: "{{config.url}}", to: "text.txt" },
      linked: { from: "{{config.url}}", to: "linked.txt", mode: "link" },
    },
    hooks: { preprocess: hook, postprocess: hook },
    command: traced("echo said; cat ../in/text.txt > result.txt; cp result.txt copy.txt"),
    outputs: { result: { from: "result.txt" }, copy: { from: "copy.txt", to: "$DELIVERED/{{token}}.txt" } },
  },
  flaky: {
    command: traced('[ "$SITEAGENT_ATTEMPT" -ge 2 ] || exit 9'),
    hooks: { handle_error: hook },
    retry: { attempts: 3, on: ["exit:9"], delay: "100ms" },
  },
  timed: {
    command: traced("sleep 30"),
    hooks: { handle_timeout: hook },
    resources: { walltime: "1s" },
    success: { on_timeout: true },
  },
  long: { command: traced("sleep 300") },
  held: { command: traced(`${untilGo}; exit 0`) },
  brief: { command: traced("exit 0"), keep: "0s" },
  triggered: { command: traced("exit 0") },
  // Fails in its first claim and would wait an hour; in the second claim it ends well.
  drained: {
    command: traced('mkdir "$SITEAGENT_JOB_DIR/../../drained-$job" 2>/dev/null && exit 9; exit 0'),
    retry: { attempts: 3, on: ["exit:9"], delay: "1h" },
  },
};

/** Calls until it works: hub or agent may be dead at the moment. */
export async function persist<Value>(what: string, call: () => Promise<Value>): Promise<Value> {
  const got = await waitFor(async () => ({ value: await call() }), { what, timeoutMs: 60_000, intervalMs: 100 });
  return got.value;
}

export async function submit({ site }: Stage, workflow: keyof typeof killApps): Promise<string> {
  const config = workflow === "work" ? { url: `file://${site.root}/inputs/a.txt` } : {};
  const idempotency_key = randomUUID();
  return (await persist("a submitted job", () => site.client.submit({ workflow, config, idempotency_key }))).id;
}

async function untilState({ site }: Stage, id: string, state: string): Promise<void> {
  await waitFor(async () => (await site.view(id)).state === state, { what: `${state} of ${id}`, timeoutMs: 60_000 });
}

/** By the hub's order, or at the agent where central knows no orders. */
async function cancel({ site, dialect, control }: Stage, id: string): Promise<void> {
  await persist("the cancel", async () => {
    if ((await site.view(id)).ended_at !== null) return;
    if (dialect === "hub") await site.client.cancel(id, "enough");
    else await control.post(`/v1/jobs/${encodeURIComponent(id)}/cancel`, { reason: "enough" });
  });
}

const plain = (app: keyof typeof killApps, attempts = 1): Scenario => ({
  status: "FINISHED",
  attempts,
  async provoke(stage, arm) {
    await arm();
    return [await submit(stage, app)];
  },
});

const cancelled: Scenario = {
  status: "CANCELLED",
  attempts: 1,
  async provoke(stage, arm) {
    const id = await submit(stage, "long");
    await untilState(stage, id, "RUNNING");
    await arm();
    await cancel(stage, id);
    return [id];
  },
};

/** The attempt was planned and never handed over when the cancel comes. */
const neverStarted: Scenario = {
  status: "CANCELLED",
  attempts: 1,
  async provoke(stage, arm) {
    const { site, control } = stage;
    await site.arm("start.after-intent", "hang");
    const id = await submit(stage, "long");
    await waitFor(() => site.reached("start.after-intent"), { what: "the plan", timeoutMs: 60_000 });
    await cancel(stage, id);
    await control.untilJob("the intent of the cancel", id, (job: LocalJob) => job.hold?.kind === "cancelling");
    await site.killAgent();
    await arm();
    await site.startAgent({ wait: false });
    return [id];
  },
};

const drained: Scenario = {
  status: "FINISHED",
  attempts: 1,
  async provoke(stage, arm) {
    const id = await submit(stage, "drained");
    await untilState(stage, id, "RESTART_READY");
    await arm();
    await persist("the drain", () => stage.control.post("/v1/drain", { reason: "test" }));
    return [id];
  },
  async finish({ control }, [id]) {
    await control.until(
      "handed back",
      ({ mode, jobs }) => mode === "drained" && !jobs.some((job) => job.id === id),
      60_000,
    );
    await persist("the end of the drain", () => control.post("/v1/resume"));
  },
};

/** The agent is started anew after `before`; the point lies in its start. */
const atStart = (before: (stage: Stage) => Promise<readonly string[]>): Scenario => ({
  status: "FINISHED",
  attempts: 1,
  async provoke(stage, arm) {
    const ids = await before(stage);
    await stage.site.killAgent();
    await arm();
    await stage.site.startAgent({ wait: false });
    return ids;
  },
});

const cleaned: Scenario = {
  ...atStart(async (stage) => {
    const id = await submit(stage, "brief");
    await stage.site.ended(id);
    await stage.control.untilJob("everything reported", id, (job) => job.unsent === 0 && job.ended_at !== null);
    return [id];
  }),
  async finish({ control }, [id]) {
    await control.until(
      "forgotten",
      ({ mode, jobs }) => mode === "running" && !jobs.some((job) => job.id === id),
      60_000,
    );
  },
};

/** An attempt runs while the journal is spoilt and the agent started again. */
const spoilt = (spoil: (path: string) => Promise<void>): Scenario => ({
  ...atStart(async (stage) => {
    const id = await submit(stage, "held");
    await untilState(stage, id, "RUNNING");
    await stage.site.killAgent();
    await spoil(await newestJournal(stage.site));
    return [id];
  }),
  finish: letGo,
});

async function letGo({ control }: Stage, [id = ""]: readonly string[]): Promise<void> {
  const { directory } = await persist("the job's directory", async () => control.job(id));
  await writeFile(join(directory, "work", "go"), "");
}

/** The file that the agent of this site writes to. */
export async function newestJournal(site: TestSite): Promise<string> {
  const folder = join(site.root, "state", "journal");
  const names = (await readdir(folder)).filter((name) => name.endsWith(".log"));
  return join(folder, names.toSorted().at(-1) ?? "");
}

/** Damages a journal in its middle. */
export async function withNonsense(path: string): Promise<void> {
  const lines = (await readFile(path, "utf8")).split("\n");
  lines.splice(Math.floor(lines.length / 2), 0, "nonsense");
  await writeFile(`${path}.spoilt`, lines.join("\n"), { mode: 0o600 });
  await rename(`${path}.spoilt`, path);
}

/** Somebody cancels the job between the intent of the claim and the call. */
const lost: Scenario = {
  status: "CANCELLED",
  attempts: 0,
  async provoke(stage, arm) {
    const { site } = stage;
    await site.arm("claim.before-send", "kill");
    const id = await submit(stage, "held");
    await waitFor(() => site.reached("claim.before-send"), { what: "the intent", timeoutMs: 60_000 });
    await site.agent?.finished;
    await site.client.cancel(id, "not any more");
    await arm();
    await site.startAgent({ wait: false });
    return [id];
  },
};

const freshRunner: Scenario = {
  ...plain("work"),
  async provoke(stage, arm) {
    stage.site.tryKillRunner();
    await arm();
    return [await submit(stage, "work")];
  },
};

const triggered: Scenario = {
  status: "FINISHED",
  attempts: 1,
  async provoke(stage, arm) {
    const { site } = stage;
    await site.client.registries.putObjectType("reads");
    await site.client.registries.putTrigger("reads--triggered", { object_type_id: "reads", workflow_id: "triggered" });
    const object = await site.newObject();
    await arm();
    await persist("the object's type", () => site.setTypes(object, ["reads"]));
    const jobs = await persist("the trigger's job", () => Array.fromAsync(site.client.jobs({ workflow: "triggered" })));
    const made = jobs.filter((job) => job.object_id === object).map((job) => job.id);
    if (made.length !== 1) throw new Error(`one object made ${made.length} jobs`);
    return made;
  },
};

/** Assigned, and never confirmed: after 90 s the hub gives it to others. */
const unconfirmed: Scenario = {
  status: "FINISHED",
  attempts: 1,
  async provoke(stage, arm) {
    const { site } = stage;
    await site.arm("claim.after-sync", "kill");
    const id = await submit(stage, "brief");
    await waitFor(() => site.reached("claim.after-sync"), { what: "the claim", timeoutMs: 60_000 });
    await site.agent?.finished;
    await arm();
    const isFree = async (): Promise<boolean> => (await site.client.job(id)).site === null;
    await waitFor(isFree, { what: "the end of the lease", timeoutMs: 150_000, intervalMs: 500 });
    await site.startAgent({ wait: false });
    return [id];
  },
};

export const scenarios = {
  work: plain("work"),
  // Its attempt cannot have ended before it is seen running.
  held: { ...plain("held"), finish: letGo },
  flaky: plain("flaky", 2),
  timed: plain("timed"),
  cancelled,
  neverStarted,
  drained,
  started: atStart(async (stage) => [await submit(stage, "brief")]),
  cleaned,
  torn: spoilt((path) => appendFile(path, "torn")),
  damaged: spoilt(withNonsense),
  lost,
  freshRunner,
  triggered,
  unconfirmed,
} as const satisfies Record<string, Scenario>;

export type ScenarioName = keyof typeof scenarios;

/** Inputs and applications of a stage. */
export async function furnish(site: TestSite): Promise<void> {
  await mkdir(join(site.root, "inputs"), { recursive: true });
  const path = join(site.root, "inputs", "a.txt");
  if (!(await stat(path).catch(() => undefined))) await writeFile(path, "some input\n");
}
