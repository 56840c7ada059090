import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { Client } from "pg";
import { inject } from "vitest";

/** An empty database of its own on the PostgreSQL of this test run; dropped with its scope, whoever is still connected. */
export interface FreshDatabase extends AsyncDisposable {
  /** `postgres://user:password@127.0.0.1:PORT/NAME`. */
  readonly url: string;
  readonly name: string;
}

let cluster: Promise<string> | undefined;

/** `await using database = await freshDatabase()`, inside `describeWithEngine("postgres", …)`. The first call starts the server. */
export async function freshDatabase(): Promise<FreshDatabase> {
  cluster ??= clusterUrl();
  const admin = await cluster;
  const name = `t_${randomBytes(6).toString("hex")}`;
  await execute(admin, `CREATE DATABASE ${name} TEMPLATE template0`);
  const url = new URL(admin);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    name,
    [Symbol.asyncDispose]: () => execute(admin, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}

async function clusterUrl(): Promise<string> {
  const answer = JSON.parse(await text(connect(inject("postgresSocket")))) as { url?: string; error?: string };
  if (answer.url === undefined) throw new Error(`no PostgreSQL for this test run: ${answer.error ?? "no answer"}`);
  return answer.url;
}

async function execute(url: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
