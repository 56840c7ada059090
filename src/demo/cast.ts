import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { pathToFileURL } from "node:url";
import { fetch } from "undici";
import { Fault } from "../common/fault.ts";
import type { HubClient } from "../sdk/client.ts";
import { dataFiles, type HubAccess } from "./scene.ts";

/** One job of the demo and what must become of it. */
export interface Expected {
  readonly id: string;
  readonly sample: string;
  readonly how: string;
  readonly attempts: number;
  readonly reads: number;
}

/** The plain NMDC protocol with the site's own token: what any NMDC client can do. */
export class NmdcClient {
  readonly #hub: HubAccess;
  #token: string | undefined;

  constructor(hub: HubAccess) {
    this.#hub = hub;
  }

  async call(method: string, path: string, body?: unknown): Promise<unknown> {
    this.#token ??= await this.#login();
    const response = await fetch(`${this.#hub.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.#token}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Fault("DEFECT", `${method} ${path} answered ${response.status}: ${text.slice(0, 300)}`);
    return text === "" ? undefined : JSON.parse(text);
  }

  async #login(): Promise<string> {
    const { client_id, client_secret } = this.#hub.site;
    const form = new URLSearchParams({ grant_type: "client_credentials", client_id, client_secret });
    const response = await fetch(`${this.#hub.url}/token`, {
      method: "POST",
      body: form.toString(),
      headers: { "content-type": "application/x-www-form-urlencoded" },
    });
    const answer = (await response.json()) as { access_token: string };
    return answer.access_token;
  }
}

/** Workflows, object type and trigger: what an administrator of the hub sets up once. */
export async function register(hub: HubClient): Promise<void> {
  for (const id of ["readqc-1.0.0", "readqc-flaky-1.0.0", "readqc-slow-1.0.0"]) {
    await hub.registries.putWorkflow(id, {
      name: id,
      description: "quality, k-mers and coverage of reads on a small genome",
    });
  }
  await hub.registries.putObjectType("lambda-reads", { name: "reads on phage lambda" });
  await hub.registries.putTrigger("lambda-reads--readqc-1.0.0", {
    object_type_id: "lambda-reads",
    workflow_id: "readqc-1.0.0",
  });
}

/** Two objects whose type fires the trigger; the reads themselves are uploaded to the hub. */
export async function createByTrigger(hub: HubClient, nmdc: NmdcClient): Promise<readonly Expected[]> {
  const expected: Expected[] = [];
  for (const [sample, path] of [
    ["lambda_1", dataFiles.reads1],
    ["lambda_2", dataFiles.reads2],
  ] as const) {
    const bytes = await readFile(path);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const stored = await hub.files.put(basename(path), bytes);
    const object = (await nmdc.call("POST", "/objects", {
      name: sample,
      mime_type: "application/gzip",
      size: bytes.length,
      created_time: new Date().toISOString(),
      checksums: [{ type: "sha256", checksum: sha256 }],
      access_methods: [{ type: "https", access_url: { url: new URL(stored.url, hub.url).href } }],
    })) as { id: string };
    await nmdc.call("PUT", `/objects/${object.id}/types`, ["lambda-reads"]);
    expected.push({ id: await jobOfObject(nmdc, object.id), sample, how: "trigger", attempts: 1, reads: 3000 });
  }
  return expected;
}

async function jobOfObject(nmdc: NmdcClient, object: string): Promise<string> {
  const filter = encodeURIComponent(JSON.stringify({ "config.object_id": object }));
  const list = (await nmdc.call("GET", `/jobs?filter=${filter}`)) as { resources: { id: string }[] };
  const id = list.resources[0]?.id;
  if (id === undefined) throw new Fault("DEFECT", `the trigger made no job for object '${object}'`);
  return id;
}

/** Two jobs by `POST /jobs`, as any NMDC client makes them; each has a fault on purpose. */
export async function createByPost(nmdc: NmdcClient): Promise<readonly Expected[]> {
  const make = async (workflow: string, sample: string, path: string): Promise<string> => {
    const config = { sample, reads_url: pathToFileURL(path).href };
    const job = (await nmdc.call("POST", "/jobs", { workflow: { id: workflow }, config, claims: [] })) as {
      id: string;
    };
    return job.id;
  };
  return [
    {
      id: await make("readqc-flaky-1.0.0", "flaky", dataFiles.reads1),
      sample: "flaky",
      how: "POST /jobs, fails once",
      attempts: 2,
      reads: 3000,
    },
    {
      id: await make("readqc-slow-1.0.0", "slow", dataFiles.reads2),
      sample: "slow",
      how: "POST /jobs, times out once",
      attempts: 2,
      reads: 3000,
    },
  ];
}
