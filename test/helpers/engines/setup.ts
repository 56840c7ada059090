/**
 * Runs in the process of vitest itself, before and after all test files: looks for the engines (unless `npm test` has
 * done so) and keeps the one PostgreSQL cluster, started when the first test asks for a database.
 */
import { rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { type Cluster, startCluster } from "./postgres-cluster.ts";
import { type EngineProbes, probeEngines } from "./registry.ts";

declare module "vitest" {
  export interface ProvidedContext {
    engines: EngineProbes;
    /** Socket that answers every connection with `{"url"}` of the cluster or `{"error"}`. */
    postgresSocket: string;
  }
}

/** Set by scripts/test.ts: what it found. */
const foundVariable = "SITEAGENT_TEST_ENGINES";

const endSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const found = process.env[foundVariable];
  project.provide("engines", found === undefined ? await probeEngines() : (JSON.parse(found) as EngineProbes));
  const directory = await mkdtemp(join(tmpdir(), "sa-vitest-"));
  const socket = join(directory, "pg");
  project.provide("postgresSocket", socket);
  let cluster: Promise<Cluster> | undefined;
  const server = createServer((connection) => {
    connection.on("error", () => {}); // a worker that was ended
    cluster ??= startCluster();
    void cluster.then(
      ({ url }) => connection.end(JSON.stringify({ url })),
      (error: unknown) => connection.end(JSON.stringify({ error: String(error) })),
    );
  });
  await listen(server, socket);
  const interrupted = (signal: NodeJS.Signals): void => {
    rmSync(directory, { recursive: true, force: true });
    process.kill(process.pid, signal); // "once" is over: it ends us; the server ends with us
  };
  for (const signal of endSignals) process.once(signal, interrupted);
  return async () => {
    for (const signal of endSignals) process.off(signal, interrupted);
    server.close();
    try {
      await (await cluster)?.[Symbol.asyncDispose]();
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  };
}

async function listen(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
}
