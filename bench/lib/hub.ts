/** Hubs to be measured: a process of its own on a database of its own, spoken to over sockets as agents and scripts do. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Pool } from "undici";
import { stringify } from "yaml";
import { openPostgresStore } from "../../src/hub/store/postgres.ts";
import { openSqliteStore } from "../../src/hub/store/sqlite.ts";
import type { Store, StoreKind } from "../../src/hub/store/types.ts";
import { silentLogger } from "../../src/common/logger.ts";
import { startCli } from "../../test/helpers/cli.ts";
import { postgres, startCluster } from "../../test/helpers/engines/postgres-cluster.ts";
import type { Program } from "../../test/helpers/program.ts";
import { temporaryDirectory } from "../../test/helpers/temporary.ts";

const admin = { username: "admin", password: "correct horse battery" };

/** Where a hub keeps its data: an SQLite file, or a PostgreSQL of our own that syncs to disk as it does in earnest. */
export interface Place extends AsyncDisposable {
  readonly kind: StoreKind;
  /** A directory that goes with the place. */
  readonly root: string;
  /** The address of the PostgreSQL, the path of the SQLite file. */
  readonly address: string;
  open(): Promise<Store>;
}

/** The stores that this machine has; a missing one is named. */
export async function storeKinds(say: (line: string) => void): Promise<readonly StoreKind[]> {
  const found = await postgres.probe();
  if (found.ok) return ["sqlite", "postgres"];
  say(`no PostgreSQL here: ${found.reason}`);
  return ["sqlite"];
}

export async function newPlace(kind: StoreKind): Promise<Place> {
  await using stack = new AsyncDisposableStack();
  const { path: root } = stack.use(await temporaryDirectory("sa-bench-"));
  const cluster = kind === "postgres" ? stack.use(await startCluster({ durable: true })) : undefined;
  const address = cluster?.url ?? join(root, "hub.db");
  const owned = stack.move();
  return {
    kind,
    root,
    address,
    open: () =>
      kind === "sqlite"
        ? openSqliteStore(address)
        : openPostgresStore({ url: address, log: silentLogger, poolSize: 2 }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

export interface Answer {
  readonly status: number;
  readonly text: string;
}

export interface SiteLogin {
  readonly id: string;
  readonly token: string;
}

/** A listening hub process; ended with its scope. */
export class BenchHub implements AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  readonly #program: Program;
  readonly #pool: Pool;

  private constructor(url: string, program: Program) {
    this.url = url;
    this.pid = program.pid;
    this.#program = program;
    this.#pool = new Pool(url, { connections: 64 });
  }

  /** Starts a hub on the place's data and waits until it answers. */
  static async start(place: Place): Promise<BenchHub> {
    const { kind, root, address } = place;
    await writeFile(join(root, "password"), admin.password, { mode: 0o600 });
    await writeFile(join(root, "database"), address, { mode: 0o600 });
    const settings = {
      listen: { port: 0 },
      store: kind === "sqlite" ? { kind, path: address } : { kind, url: { file: "database" } },
      admin: { username: admin.username, password: { file: "password" } },
      limits: { requests_per_minute: 0 },
    };
    await writeFile(join(root, "hub.yaml"), stringify(settings), { mode: 0o600 });
    const program = await startCli(["hub", "--config", join(root, "hub.yaml"), "-o", "json"], {
      home: root,
      env: { NODE_OPTIONS: process.env["SITEAGENT_BENCH_NODE_OPTIONS"] },
    });
    try {
      const [line = ""] = await program.output(/^\{.*"url".*\}$/m, { timeoutMs: 120_000 });
      return new BenchHub((JSON.parse(line) as { url: string }).url, program);
    } catch (error) {
      await program[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** One request. @throws Error unless the status is 2xx. */
  async call(method: "GET" | "POST" | "PUT", path: string, token?: string, body?: string): Promise<Answer> {
    const answer = await this.#pool.request({
      path,
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": body.startsWith("{") ? "application/json" : form }),
      },
      ...(body === undefined ? {} : { body }),
    });
    const text = await answer.body.text();
    if (answer.statusCode >= 300) throw new Error(`${method} ${path}: ${answer.statusCode} ${text.slice(0, 500)}`);
    return { status: answer.statusCode, text };
  }

  async adminToken(): Promise<string> {
    return this.#token({ grant_type: "password", ...admin });
  }

  /** Makes a site with a client that is logged in. */
  async newSite(token: string, id: string): Promise<SiteLogin> {
    await this.call("POST", "/sites", token, JSON.stringify({ id }));
    const { text } = await this.call("POST", `/sites/${id}:generateCredentials`, token);
    const { client_id, client_secret } = JSON.parse(text) as { client_id: string; client_secret: string };
    return { id, token: await this.#token({ grant_type: "client_credentials", client_id, client_secret }) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.destroy();
    await this.#program[Symbol.asyncDispose]();
  }

  async #token(fields: Record<string, string>): Promise<string> {
    const { text } = await this.call("POST", "/token", undefined, new URLSearchParams(fields).toString());
    return (JSON.parse(text) as { access_token: string }).access_token;
  }
}

const form = "application/x-www-form-urlencoded";
