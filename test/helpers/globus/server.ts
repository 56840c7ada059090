/**
 * Globus Auth and the Transfer API on loopback, as docs.globus.org documents them, with directories of this machine as collections.
 * Tasks go on while they are looked at: each look copies some files.
 */
import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { GlobusSettings } from "../../../src/transfer/globus/types.ts";
import { type Answer, json, type Received, ScriptedServer } from "../scripted-server.ts";
import { temporaryDirectory, type TemporaryDirectory } from "../temporary.ts";
import { copyItem, listDocument, Refused, statDocument } from "./collections.ts";

interface Item {
  readonly source_path: string;
  readonly destination_path: string;
}

interface Submission {
  readonly submission_id: string;
  readonly label: string;
  readonly source_endpoint: string;
  readonly destination_endpoint: string;
  readonly sync_level: number;
  readonly verify_checksum: boolean;
  readonly encrypt_data: boolean;
  readonly deadline: string;
  readonly DATA: readonly Item[];
}

export interface GlobusTask {
  readonly id: string;
  readonly document: Submission;
  readonly waiting: Item[];
  readonly done: Item[];
  /** The copies of earlier looks. */
  working: Promise<void>;
  idleLooks: number;
  status: "ACTIVE" | "INACTIVE" | "SUCCEEDED" | "FAILED";
  fatal: { readonly code: string; readonly description: string } | null;
}

export const ids = {
  own: "11111111-aaaa-4bbb-8ccc-000000000001",
  far: "22222222-aaaa-4bbb-8ccc-000000000002",
} as const;

/** What a refused call is answered with. */
export function refusal(
  status: number,
  code: string,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  return json(status, { code, message, request_id: "Req1", resource: "/" }, headers);
}

/** The services, the site's own collection (`own`, the directory `site`) and another (`far`, the directory `far`). */
export class GlobusServer implements AsyncDisposable {
  readonly http: ScriptedServer;
  readonly directory: TemporaryDirectory;
  readonly tasks: GlobusTask[] = [];
  /** Access tokens that were handed out, the valid ones first to last. */
  readonly tokens: string[] = [];
  /** Looks at a task before it begins. */
  idleLooks = 0;
  filesPerLook = Infinity;
  /** Files that end their task when it comes to them, by name. */
  readonly failing = new Map<string, string>();
  tokenSeconds = 3_600;
  readonly #roots: Readonly<Record<string, string>>;
  #valid = new Set<string>();

  private constructor(http: ScriptedServer, directory: TemporaryDirectory) {
    this.http = http;
    this.directory = directory;
    this.#roots = { [ids.own]: directory.join("site"), [ids.far]: directory.join("far") };
    const api = "/v0.10";
    http
      .on("POST /v2/oauth2/token", (received, response) => this.#token(received)(received, response))
      .on(
        `GET ${api}/submission_id`,
        this.#guarded(async () => ({ value: randomUUID() })),
      )
      .on(
        `POST ${api}/transfer`,
        this.#guarded((received) => this.#submit(received)),
      )
      .on(
        `GET ${api}/task/*`,
        this.#guarded((received) => this.#task(received)),
      )
      .on(
        `POST ${api}/task/*`,
        this.#guarded((received) => this.#cancel(received)),
      )
      .on(
        `GET ${api}/operation/*`,
        this.#guarded((received) => this.#operation(received)),
      );
  }

  static async start(): Promise<GlobusServer> {
    return new GlobusServer(await ScriptedServer.start(), await temporaryDirectory());
  }

  /** Settings of the site, with a credentials file. */
  async settings(credentials: object = { client_id: "client-1", refresh_token: "refresh-1" }): Promise<GlobusSettings> {
    const path = this.directory.join("globus.json");
    await writeFile(path, JSON.stringify(credentials), { mode: 0o600 });
    return {
      collection: ids.own,
      paths: [{ local: this.directory.join("site"), remote: "/" }],
      credentials: { path, label: path },
      api: this.http.url,
      auth: this.http.url,
      encrypt: false,
      checksum: true,
      deadlineMs: 3_600_000,
      notes: this.directory.join("notes"),
    };
  }

  expireTokens(): void {
    this.#valid = new Set();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.http[Symbol.asyncDispose]();
    await this.directory[Symbol.asyncDispose]();
  }

  #token({ body, headers }: Received): Answer {
    const form = new URLSearchParams(body);
    const basic = Buffer.from("client-1:secret-1").toString("base64");
    const known =
      form.get("grant_type") === "refresh_token"
        ? form.get("refresh_token") === "refresh-1" && form.get("client_id") === "client-1"
        : form.get("grant_type") === "client_credentials" && headers.authorization === `Basic ${basic}`;
    if (!known) return json(400, { error: "invalid_grant" });
    const token = `access-${this.tokens.length + 1}`;
    this.tokens.push(token);
    this.#valid.add(token);
    return json(200, {
      access_token: token,
      expires_in: this.tokenSeconds,
      token_type: "Bearer",
      scope: form.get("scope"),
    });
  }

  #guarded(act: (received: Received) => Promise<object>): Answer {
    return async (received, response) => {
      const token = received.headers.authorization?.replace(/^Bearer /, "") ?? "";
      const answer = this.#valid.has(token)
        ? await act(received).then(
            (value) => json(200, value),
            (error: unknown) => {
              if (error instanceof Refused) return refusal(error.status, error.code, error.message);
              throw error;
            },
          )
        : refusal(401, "AuthenticationFailed", `Token is not active: ${token}`);
      await answer(received, response);
    };
  }

  async #submit({ body }: Received): Promise<object> {
    const document = JSON.parse(body) as Submission;
    if (document.DATA.length === 0) throw new Refused(400, "ClientError.BadRequest.NoTransferItems", "no items");
    const made = this.tasks.find((task) => task.document.submission_id === document.submission_id);
    const task = made ?? this.#create(document);
    return { DATA_TYPE: "transfer_result", code: made ? "Duplicate" : "Accepted", task_id: task.id, message: "" };
  }

  #create(document: Submission): GlobusTask {
    const { idleLooks } = this;
    const task: GlobusTask = {
      id: randomUUID(),
      document,
      waiting: [...document.DATA],
      done: [],
      working: Promise.resolve(),
      idleLooks,
      status: "ACTIVE",
      fatal: null,
    };
    this.tasks.push(task);
    return task;
  }

  #find({ path }: Received): { readonly task: GlobusTask; readonly verb: string } {
    const [, , , id, verb = ""] = path.split("/");
    const task = this.tasks.find((one) => one.id === id);
    if (!task) throw new Refused(404, "ClientError.NotFound", `No task ${id}`);
    return { task, verb };
  }

  async #task(received: Received): Promise<object> {
    const { task, verb } = this.#find(received);
    if (verb === "event_list")
      return { DATA: task.fatal ? [{ code: task.fatal.code, details: task.fatal.description }] : [] };
    if (verb === "successful_transfers") return successes(task, received.query);
    task.working = task.working.then(() => this.#goOn(task));
    await task.working;
    const { id, status, fatal } = task;
    return {
      DATA_TYPE: "task",
      task_id: id,
      status,
      fatal_error: fatal,
      is_paused: false,
      nice_status: status === "ACTIVE" ? "OK" : null,
      nice_status_short_description: status === "INACTIVE" ? "credentials expired" : null,
      faults: 0,
      files_transferred: task.done.length,
    };
  }

  async #goOn(task: GlobusTask): Promise<void> {
    if (task.status !== "ACTIVE" || task.idleLooks-- > 0) return;
    const { source_endpoint: source, destination_endpoint: destination, sync_level: level } = task.document;
    for (const item of task.waiting.splice(0, this.filesPerLook)) {
      const failure = this.failing.get(item.source_path.split("/").at(-1) ?? "");
      if (failure !== undefined) {
        task.status = "FAILED";
        task.fatal = { code: failure, description: `${item.source_path} cannot be read` };
        return;
      }
      const [from, to] = [this.#real(source, item.source_path), this.#real(destination, item.destination_path)];
      if (await copyItem(from, to, level)) task.done.push(item);
    }
    if (task.waiting.length === 0) task.status = "SUCCEEDED";
  }

  async #cancel(received: Received): Promise<object> {
    const { task } = this.#find(received);
    if (task.status === "SUCCEEDED" || task.status === "FAILED") {
      throw new Refused(409, "TaskComplete", "The task completed before the cancel request was processed");
    }
    task.status = "FAILED";
    task.fatal = { code: "CANCELED", description: "canceled by the user" };
    return { DATA_TYPE: "result", code: "Canceled", message: "The task has been cancelled successfully." };
  }

  async #operation({ path, query }: Received): Promise<object> {
    const [, , , , id = "", verb] = path.split("/");
    const root = this.#roots[id];
    if (root === undefined) throw new Refused(404, "EndpointNotFound", `No such endpoint '${id}'`);
    const asked = query.get("path") ?? "/";
    return verb === "ls" ? listDocument(root, asked, query) : statDocument(root, asked);
  }

  #real(collection: string, path: string): string {
    return join(this.#roots[collection] ?? "/nowhere", path);
  }
}

/** Two a page, so that there are pages. */
function successes({ done }: GlobusTask, query: URLSearchParams): object {
  const from = Number(query.get("marker") ?? 0);
  const next = from + 2;
  return {
    DATA_TYPE: "successful_transfers",
    marker: from,
    next_marker: next < done.length ? next : null,
    DATA: done.slice(from, next).map((item) => ({ DATA_TYPE: "successful_transfer", ...item })),
  };
}
