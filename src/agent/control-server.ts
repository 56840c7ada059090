import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { chmod, rm } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import type { z } from "zod";
import { asFault, Fault } from "../common/fault.ts";
import { openPlainFile } from "../common/files.ts";
import { createServer } from "../common/node-http.ts";
import { quoted } from "../common/nearest.ts";
import { isFinal } from "../jobs/transitions.ts";
import { logStreams } from "../wire/agent-api.ts";
import { cancelRequestSchema, drainRequestSchema, pauseRequestSchema, type StatusView } from "../wire/control-api.ts";
import { logHeaders } from "../wire/user-api.ts";
import type { AgentCore } from "./core.ts";
import { streamFiles } from "./log-shipper.ts";
import { requestCancel, resumeJob } from "./orders.ts";
import { localJob, localJobDetail } from "./views.ts";

const maxBodyBytes = 64 * 1024;
const maxLogBytes = 1024 * 1024;
/** Linux takes at most 107 bytes for a socket's path. */
const maxSocketPath = 107;

/** What the socket can ask of the agent besides its jobs. */
export interface ControlActions {
  readonly core: AgentCore;
  status(): Promise<StatusView>;
  pause(request: z.output<typeof pauseRequestSchema>): Promise<void>;
  resume(by: string): Promise<void>;
  drain(request: z.output<typeof drainRequestSchema>): Promise<void>;
  /** @throws Fault CONFIG; the old configuration stays. */
  reload(): Promise<void>;
  /** A driver has to look at its job again. */
  nudge(job: string): void;
}

interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly query: URLSearchParams;
  readonly parts: readonly string[];
}

/** The control socket: 0600, so the account of the agent (and root) may use it. @throws Fault CONFIG when the path is too long. */
export async function openControlSocket(path: string, actions: ControlActions): Promise<AsyncDisposable> {
  if (Buffer.byteLength(path) > maxSocketPath) {
    throw new Fault("CONFIG", `the control socket '${path}' has a path of more than ${maxSocketPath} bytes`, {
      hint: "set agent.runtime_dir to a shorter directory",
    });
  }
  // The instance lock is held: whoever listened here is gone.
  await rm(path, { force: true });
  const server = createServer((request, response) => {
    void answer(actions, request, response);
  });
  const old = process.umask(0o177);
  try {
    await listen(server, path);
  } finally {
    process.umask(old);
  }
  await chmod(path, 0o600);
  return {
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
    },
  };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

async function answer(actions: ControlActions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    await route(actions, { request, response, ...readPath(request.url ?? "/") });
  } catch (error) {
    const fault = asFault(error);
    if (fault.code === "DEFECT") actions.core.log.error({ err: fault }, "a control call failed");
    const { http, retry } = fault.row;
    send(response, http, {
      detail: fault.message,
      status: http,
      code: fault.code,
      retry,
      ...(fault.hint === undefined ? {} : { hint: fault.hint }),
      ...(fault.details === undefined ? {} : { details: fault.details }),
    });
  }
}

/** @throws Fault USAGE when it is no path or wrongly encoded. */
function readPath(path: string): Pick<Call, "query" | "parts"> {
  try {
    const url = new URL(path, "http://agent");
    const parts = url.pathname.split("/").filter((part) => part !== "");
    return { query: url.searchParams, parts: parts.map((part) => decodeURIComponent(part)) };
  } catch (error) {
    throw new Fault("USAGE", `${quoted(path)} is no path`, { cause: error });
  }
}

async function route(actions: ControlActions, call: Call): Promise<void> {
  const { core } = actions;
  const [version, thing = "", id = "", verb, stream = ""] = call.parts;
  if (version !== "v1") throw unknownPath(call);
  const key = `${call.request.method} ${thing}${call.parts.length > 2 ? "/ID" : ""}${verb === undefined ? "" : `/${verb}`}`;
  switch (key) {
    case "GET status":
      return send(call.response, 200, await actions.status());
    case "GET jobs":
      return send(call.response, 200, { jobs: core.jobs.map((job) => localJob(core, job)) });
    case "GET jobs/ID":
      return send(call.response, 200, localJobDetail(core, jobOf(core, id)));
    case "GET jobs/ID/logs":
      return await sendLog(core, call, id, stream);
    case "POST jobs/ID/cancel": {
      const body = await bodyOf(call, cancelRequestSchema);
      return send(call.response, 200, { result: await cancel(actions, id, body.reason, body.by) });
    }
    case "POST jobs/ID/resume": {
      await resumeJob(core, jobOf(core, id).id);
      actions.nudge(id);
      return send(call.response, 200, { result: "requested" });
    }
    case "POST pause":
      await actions.pause(await bodyOf(call, pauseRequestSchema));
      return send(call.response, 200, await actions.status());
    case "POST resume":
      await actions.resume(userInfo().username);
      return send(call.response, 200, await actions.status());
    case "POST drain":
      await actions.drain(await bodyOf(call, drainRequestSchema));
      return send(call.response, 200, await actions.status());
    case "POST reload":
      await actions.reload();
      return send(call.response, 200, await actions.status());
    case "POST sync":
      core.syncWork.notify();
      return send(call.response, 200, await actions.status());
    default:
      throw unknownPath(call);
  }
}

async function cancel(
  actions: ControlActions,
  id: string,
  reason: string,
  by: string,
): Promise<"requested" | "already-ended" | "not-found"> {
  const job = actions.core.ledger.book.jobs.get(id);
  if (!job) return "not-found";
  if (isFinal(job.state)) return "already-ended";
  await requestCancel(actions.core, id, reason, by === "" ? userInfo().username : by);
  actions.nudge(id);
  return "requested";
}

async function sendLog(core: AgentCore, call: Call, id: string, stream: string): Promise<void> {
  const job = jobOf(core, id);
  const known = logStreams.find((name) => name === stream);
  if (!known) throw new Fault("NOT_FOUND", `no stream '${stream}'; one of ${logStreams.join(", ")}`);
  const number = numberOf(call.query, "attempt") ?? job.attempt;
  const attempt = job.attempts.find((one) => one.attempt === number);
  if (!attempt) throw new Fault("NOT_FOUND", `job '${job.id}' has no attempt ${number}`);
  const offset = numberOf(call.query, "offset") ?? 0;
  const limit = Math.min(numberOf(call.query, "limit") ?? maxLogBytes, maxLogBytes);
  const { bytes, size } = await readRange(join(attempt.directory, streamFiles[known]), offset, limit);
  const complete = attempt.end !== undefined && offset + bytes.length >= size;
  call.response.writeHead(200, {
    "content-type": "application/octet-stream",
    [logHeaders.offset]: String(offset),
    [logHeaders.size]: String(size),
    [logHeaders.complete]: String(complete),
    [logHeaders.attempt]: String(number),
  });
  call.response.end(bytes);
}

async function readRange(path: string, offset: number, limit: number): Promise<{ bytes: Buffer; size: number }> {
  await using file = await openPlainFile(path);
  if (!file) return { bytes: Buffer.alloc(0), size: 0 };
  const { size } = await file.stat();
  const buffer = Buffer.alloc(Math.max(0, Math.min(limit, size - offset)));
  const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
  return { bytes: buffer.subarray(0, bytesRead), size };
}

function jobOf(core: AgentCore, id: string) {
  const job = core.ledger.book.jobs.get(id);
  if (!job) throw new Fault("NOT_FOUND", `this agent holds no job '${id}'`);
  return job;
}

function numberOf(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw new Fault("USAGE", `${name} '${text}' is not a whole number`);
  return Number(text);
}

async function bodyOf<Schema extends z.ZodType>(call: Call, schema: Schema): Promise<z.output<Schema>> {
  let text = "";
  for await (const chunk of call.request) {
    text += String(chunk);
    if (text.length > maxBodyBytes) throw new Fault("TOO_LARGE", `the body is larger than ${maxBodyBytes} bytes`);
  }
  let json: unknown;
  try {
    json = text === "" ? {} : JSON.parse(text);
  } catch (error) {
    throw new Fault("USAGE", "the body is not JSON", { cause: error });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new Fault(
    "INVALID",
    parsed.error.issues.map((issue) => `${issue.path.join(".") || "body"}: ${issue.message}`).join("; "),
  );
}

function unknownPath(call: Call): Fault {
  return new Fault("NOT_FOUND", `the control socket has no '${call.request.method} ${call.request.url}'`);
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(`${JSON.stringify(body)}\n`);
}
