import { chmod, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { stringify } from "yaml";
import { errnoOf, Fault } from "../common/fault.ts";
import { packageRoot } from "../common/version.ts";
import { controlSocketName } from "../wire/control-api.ts";

/** Where everything of one demo lies; made anew at each run. */
export interface Scene {
  readonly root: string;
  readonly hubData: string;
  readonly delivered: string;
  readonly siteFile: string;
  readonly secretFile: string;
  readonly state: string;
  readonly runtime: string;
  readonly hubLog: string;
  readonly agentLog: string;
}

const example = join(packageRoot, "examples", "lambda");
export const dataFiles = {
  genome: join(example, "data", "lambda_virus.fa.gz"),
  reads1: join(example, "data", "reads_1.fastq.gz"),
  reads2: join(example, "data", "reads_2.fastq.gz"),
};

const marker = "made-by-siteagent-demo";

/**
 * Empties the folder and makes the parts.
 * @throws Fault CONFLICT when the folder holds something that no demo made, ALREADY_RUNNING when an earlier demo still runs there.
 */
export async function setScene(root: string): Promise<Scene> {
  const there: string[] = await readdir(root).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  });
  if (there.length > 0 && !there.some((name) => name === marker)) {
    throw new Fault("CONFLICT", `'${root}' is not empty and was not made by a demo`, {
      hint: "name an empty or new folder with --directory",
    });
  }
  if (await answers(join(root, "run", controlSocketName))) {
    throw new Fault("ALREADY_RUNNING", `an earlier demo still runs in '${root}'`, {
      hint: "end it (it told its two pids), or name another folder with --directory",
    });
  }
  await rm(root, { recursive: true, force: true });
  const scene: Scene = {
    root,
    hubData: join(root, "hub"),
    delivered: join(root, "delivered"),
    siteFile: join(root, "site.yaml"),
    secretFile: join(root, "client-secret"),
    state: join(root, "state"),
    runtime: join(root, "run"),
    hubLog: join(root, "hub.log"),
    agentLog: join(root, "agent.log"),
  };
  for (const directory of [root, scene.hubData, scene.delivered, scene.state, scene.runtime]) {
    await mkdir(directory, { recursive: true, mode: 0o700 });
  }
  await writeFile(join(root, marker), "This folder is emptied by the next demo.\n");
  return scene;
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.once("connect", () => {
      connection.destroy();
      resolve(true);
    });
    connection.once("error", () => resolve(false));
  });
}

export interface HubAccess {
  readonly url: string;
  readonly admin: { readonly username: string; readonly password: string };
  readonly site: { readonly id: string; readonly client_id: string; readonly client_secret: string };
}

/** Where the demo's jobs run. */
export interface DemoPlace {
  /** In words: "a private Slurm". */
  readonly what: string;
  /** Name of the target. */
  readonly name: string;
  /** Further keys of the host. */
  readonly host: Readonly<Record<string, unknown>>;
  /** Keys of the target, but for its host. */
  readonly target: Readonly<Record<string, unknown>>;
}

export const thisMachine: DemoPlace = {
  what: "this machine",
  name: "local",
  host: {},
  target: { launcher: "local", slots: 2 },
};

/** The site file of the demo: what an administrator would write, with the three apps of the example. */
export async function writeSite(scene: Scene, hub: HubAccess, place: DemoPlace): Promise<void> {
  await writeFile(scene.secretFile, `${hub.site.client_secret}\n`, { mode: 0o600 });
  await chmod(scene.secretFile, 0o600);
  const site = {
    site: hub.site.id,
    api: { url: hub.url, client_id: hub.site.client_id, client_secret: { file: scene.secretFile }, poll: "1s" },
    agent: { state_dir: scene.state, runtime_dir: scene.runtime, report: "full", min_free_space: "50MiB" },
    hosts: { here: { workdir: join(scene.root, "work"), ...place.host } },
    targets: { [place.name]: { host: "here", ...place.target } },
    policy: {
      sources: [`${hub.url}/`, `file://${encodeURI(join(example, "data"))}/`],
      destinations: [`file://${encodeURI(scene.delivered)}/`],
    },
    apps: apps(scene, place.name),
  };
  const text = `# The demo's site file; 'siteagent validate ${scene.siteFile}' checks it.\n${stringify(site)}`;
  await writeFile(scene.siteFile, text, { mode: 0o600 });
}

function apps(scene: Scene, target: string): Record<string, unknown> {
  const sample = { type: "string", pattern: "[A-Za-z0-9_][A-Za-z0-9_.-]*", max_length: 64 };
  const outputs = Object.fromEntries(
    ["report.json", "coverage.tsv"].map((file) => [
      file.replace(/\..*/, ""),
      { from: file, to: `file://${encodeURI(scene.delivered)}/{{sample}}/${file}` },
    ]),
  );
  const command = [
    join(example, "bin", "readqc.sh"),
    "--node",
    process.execPath,
    "--sample",
    "{{sample}}",
    "--reads",
    "{{inputs.reads}}",
    "--genome",
    "{{inputs.genome}}",
  ];
  const genome = { from: `file://${encodeURI(dataFiles.genome)}`, to: "genome.fa.gz" };
  const byConfig = { reads: { from: "{{config.reads_url}}", to: "reads.fastq.gz" }, genome };
  const common = { outputs: { ...outputs, summary: { from: "summary.txt" } }, target, grace: "2s" };
  return {
    // Made by the trigger: everything it needs to know is in the object.
    readqc: {
      ...common,
      workflow: "readqc-1.0.0",
      parameters: { sample: { ...sample, from: "object.name" } },
      inputs: { reads: { from: "{{object.url}}", sha256: "{{object.sha256}}", to: "reads.fastq.gz" }, genome },
      command,
      resources: { walltime: "5m" },
    },
    "readqc-flaky": {
      ...common,
      workflow: "readqc-flaky-1.0.0",
      parameters: { sample: { ...sample, from: "config.sample" } },
      inputs: byConfig,
      command: [join(example, "bin", "flaky.sh"), "2", ...command],
      resources: { walltime: "5m" },
      retry: { attempts: 3, on: ["exit:75"], delay: "1s" },
    },
    "readqc-slow": {
      ...common,
      workflow: "readqc-slow-1.0.0",
      parameters: { sample: { ...sample, from: "config.sample" } },
      inputs: byConfig,
      command: [join(example, "bin", "slow.sh"), "60", ...command],
      resources: { walltime: "5s" },
      // The administrator's own code decides what a timeout means.
      hooks: {
        handle_timeout: { command: [process.execPath, join(example, "hooks", "handle-timeout.mjs")], timeout: "20s" },
      },
    },
  };
}
