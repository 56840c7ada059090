import { join } from "node:path";
import { access, constants } from "node:fs/promises";
import { tmpdir } from "node:os";
import { formatDuration } from "../common/units.ts";
import { createHubClient, type HubClient } from "../sdk/client.ts";
import { createByPost, createByTrigger, type Expected, NmdcClient, register } from "./cast.ts";
import { type Child, startAgent, startHub, tail } from "./children.ts";
import { packageRoot } from "../common/version.ts";
import { type DemoPlace, type HubAccess, type Scene, setScene, thisMachine, writeSite } from "./scene.ts";
import { follow, makeStage, type Stage } from "./stage.ts";
import { type Verdict, verify } from "./verify.ts";

export interface DemoOptions {
  /** Leaves hub and agent running. */
  readonly keep: boolean;
  /** Folder for everything; default `.siteagent-demo` beside the project, or below the temporary folder. */
  readonly directory?: string | undefined;
  /** Default: this machine. */
  readonly place?: DemoPlace;
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };
  readonly signal: AbortSignal;
}

const longestMs = 180_000;

/** Hub, agent, jobs, faults on purpose, proof. Returns the exit code: 0 only if every job ended as it should. */
export async function runDemo(options: DemoOptions): Promise<number> {
  const begun = performance.now();
  const stage = await makeStage(options.stdout);
  const scene = await setScene(options.directory ?? (await defaultDirectory()));
  const children: Child[] = [];
  let kept = false;
  try {
    stage.line("1  A hub (the central API) on SQLite");
    const { child: hubChild, access: hubAccess } = await startHub(scene);
    children.push(hubChild);
    stage.line(`   ${hubAccess.url}  (API at ${hubAccess.url}/docs)`);
    await using hub = createHubClient({
      url: hubAccess.url,
      username: hubAccess.admin.username,
      password: hubAccess.admin.password,
    });
    await register(hub);
    const { place = thisMachine } = options;
    const agent = options.place ? `An agent for ${place.what}` : "An agent for this machine";
    stage.line(`2  ${agent}: it polls, claims, stages, runs, reports`);
    await writeSite(scene, hubAccess, place);
    children.push(await startAgent(scene));
    stage.line(`   site file ${scene.siteFile}`);
    stage.line("3  Four jobs on reads of phage lambda: two by a trigger, one that fails once, one that times out once");
    const nmdc = new NmdcClient(hubAccess);
    const cast = [...(await createByTrigger(hub, nmdc)), ...(await createByPost(nmdc))];
    const limit = AbortSignal.any([options.signal, AbortSignal.timeout(longestMs)]);
    await follow(hub, cast, stage, limit);
    if (options.signal.aborted) return 130;
    const well = await tellResults(hub, nmdc, cast, stage, scene);
    stage.line(
      `\n${well ? "All jobs ended as they should" : "NOT all jobs ended as they should"} (${formatDuration(performance.now() - begun)}).`,
    );
    kept = options.keep;
    tellMore(stage, scene, hubAccess, kept ? children : undefined);
    return well ? 0 : 1;
  } catch (error) {
    stage.line(`\nThe end of the agent's log (${scene.agentLog}):\n${await tail(scene.agentLog)}`);
    throw error;
  } finally {
    if (kept) for (const child of children) child.release();
    else for (const child of children.toReversed()) await child.stop();
  }
}

async function tellResults(
  hub: HubClient,
  nmdc: NmdcClient,
  cast: readonly Expected[],
  stage: Stage,
  scene: Scene,
): Promise<boolean> {
  const verdicts: Verdict[] = [];
  for (const expected of cast) verdicts.push(await verify(hub, nmdc, expected));
  stage.line("\n4  What became of them");
  stage.line(
    columns([
      ["job", "sample", "made by", "status", "attempts", "took"],
      ...verdicts.map(({ job, expected }) => [
        job.id,
        expected.sample,
        expected.how,
        job.status,
        String(job.attempt),
        took(job.created_at, job.ended_at),
      ]),
    ]),
  );
  stage.line("\n5  The results, read from the delivered reports");
  stage.line(
    columns([
      ["sample", "genome", "reads", "kept", "placed", "mean depth", "breadth"],
      ...verdicts.map(({ expected, numbers }) => [expected.sample, ...Object.values(numbers ?? {}).map(String)]),
    ]),
  );
  const files = verdicts.flatMap((verdict) => verdict.outputs);
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  stage.line(
    `\n6  ${files.length} output files, ${bytes} bytes: read again and their SHA-256 compared with what the agent reported`,
  );
  stage.line(`   delivered to ${scene.delivered}; the summaries lie on the hub`);
  for (const { expected, problems } of verdicts)
    for (const problem of problems) stage.line(`   WRONG  ${expected.sample}: ${problem}`);
  return verdicts.every((verdict) => verdict.problems.length === 0);
}

function tellMore(stage: Stage, scene: Scene, hub: HubAccess, running: readonly Child[] | undefined): void {
  const cli = join(packageRoot, "bin", "siteagent");
  if (!running) {
    stage.line(`\nTo play with it, leave it running: npm run demo -- --keep\nLogs: ${scene.agentLog}, ${scene.hubLog}`);
    return;
  }
  stage.line(`
Hub and agent go on running. Try:
  ${cli} status --config ${scene.siteFile}
  export SITEAGENT_HUB=${hub.url}
  ${cli} login --hub ${hub.url} --username ${hub.admin.username}     (password: ${hub.admin.password})
  ${cli} jobs --all
  ${cli} job last
  ${cli} logs last
API: ${hub.url}/docs
To end both: kill ${running.map((child) => child.pid ?? "").join(" ")}`);
}

/** Rows as text; each column as wide as its longest cell. */
function columns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  return rows
    .map((row) => `   ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}`.trimEnd())
    .join("\n");
}

function took(from: string, to: string | null): string {
  return to === null ? "" : formatDuration(Date.parse(to) - Date.parse(from));
}

async function defaultDirectory(): Promise<string> {
  try {
    await access(packageRoot, constants.W_OK);
    return join(packageRoot, ".siteagent-demo");
  } catch {
    return join(tmpdir(), `siteagent-demo-${process.getuid?.() ?? 0}`);
  }
}
