import { limitTexts } from "../format/limits.ts";
import { readFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../common/clock.ts";
import { createHash } from "../../common/crypto.ts";
import { durableReplace } from "../../common/files.ts";
import { Fault, isFault } from "../../common/fault.ts";
import { isFinalStatus } from "../../jobs/status.ts";
import type { ActionResult, OutputFile } from "../../sdk/client.ts";
import type { LocalJob } from "../../wire/control-api.ts";
import type { CliContext } from "../context.ts";
import { counted } from "../format/text.ts";
import type { ControlClient } from "../control-client.ts";
import type {
  JobBackend,
  JobFilter,
  JobList,
  JobRow,
  JobStory,
  LogChunk,
  LogRequest,
  Surroundings,
  WaitRequest,
} from "./types.ts";

const pollMs = 500;
const logPageBytes = 1024 * 1024;

/** The agent on this machine as a source of jobs: what it holds and what ended lately. Works without any hub. */
export class LocalBackend implements JobBackend {
  readonly kind = "local";
  readonly control: ControlClient;
  readonly #context: CliContext;

  constructor(control: ControlClient, context: CliContext) {
    this.control = control;
    this.#context = context;
  }

  get address(): string {
    return this.control.socket;
  }

  me(): Promise<{ readonly name: string; readonly onlyMine: boolean }> {
    return Promise.resolve({ name: userInfo().username, onlyMine: false });
  }

  async list(filter: JobFilter): Promise<JobList> {
    const rows = (await this.control.jobs()).map(rowOf).filter((row) => fits(row, filter));
    const sorted = rows.toSorted((a, b) => compare(a, b, filter.sort));
    return { rows: sorted.slice(0, filter.limit), total: rows.length, capped: false };
  }

  async job(id: string): Promise<JobRow> {
    return rowOf(await this.control.job(id));
  }

  async story(id: string): Promise<JobStory> {
    const detail = await this.control.job(id);
    return {
      row: rowOf(detail),
      timeline: detail.history.map((entry) => ({
        at: entry.at,
        what: entry.state,
        attempt: entry.attempt,
        status: entry.phase === "none" ? "" : entry.phase,
        message: entry.message ?? "",
      })),
      attempts: detail.attempts,
      inputs: detail.inputs.map((file) => ({ ...file, where: "" })),
      outputs: detail.outputs.map((file) => ({ ...file, where: file.url })),
      asked: { parameters: detail.parameters, limits: limitTexts(detail.limits) },
      raw: detail,
    };
  }

  async wait(ids: readonly string[], request: WaitRequest): Promise<readonly JobRow[]> {
    const { signal } = this.#context;
    const deadline = request.timeoutMs === undefined ? Infinity : systemClock.monotonic() + request.timeoutMs;
    const seen = new Map<string, JobRow>();
    for (;;) {
      const rows = new Map((await this.control.jobs()).map((job) => [job.id, rowOf(job)]));
      for (const id of ids) {
        const row = rows.get(id) ?? seen.get(id) ?? rowOf(await this.control.job(id));
        const before = seen.get(id);
        if (before?.updatedAt !== row.updatedAt || hasMoved(before, row)) request.onChange?.(row);
        seen.set(id, row);
      }
      const open = ids.filter((id) => !isFinalStatus(seen.get(id)?.status ?? "PENDING"));
      if (open.length === 0) return ids.map((id) => seen.get(id)).filter((row) => row !== undefined);
      if (signal.aborted) throw new Fault("CANCELLED", "waiting was given up", { details: { open } });
      if (systemClock.monotonic() >= deadline) {
        throw new Fault("TIMEOUT", `${counted(open.length, "job")} did not end in time`, { details: { open } });
      }
      await systemClock.sleep(Math.min(pollMs, deadline - systemClock.monotonic()), signal);
    }
  }

  async *logs(id: string, request: LogRequest): AsyncGenerator<LogChunk> {
    let attempt = request.attempt ?? request.start;
    let offset = request.since === undefined ? request.offset : await this.#offsetSince(id, request, request.since);
    while (!this.#context.signal.aborted) {
      const chunk = await this.control.log(id, request.stream, { attempt, offset, limit: logPageBytes });
      attempt ??= chunk.attempt > 0 ? chunk.attempt : undefined;
      if (chunk.bytes.length > 0) {
        yield chunk;
        offset = chunk.offset + chunk.bytes.length;
        if (offset < chunk.size) continue;
      }
      if (!request.follow) return;
      if (chunk.complete) {
        const job = rowOf(await this.control.job(id));
        if (request.attempt === undefined && attempt !== undefined && job.attempt > attempt) {
          attempt++;
          offset = 0;
        } else if (isFinalStatus(job.status) || request.attempt !== undefined) return;
      }
      if (chunk.bytes.length === 0) await systemClock.sleep(pollMs, this.#context.signal);
    }
  }

  async outputs(id: string): Promise<readonly OutputFile[]> {
    const detail = await this.control.job(id);
    return detail.outputs.map((file) => ({
      output: file.item,
      path: file.path,
      bytes: file.bytes,
      sha256: file.sha256,
      url: file.url,
      stored: true,
    }));
  }

  /** From the place where it was delivered when that is a file here, else from the work directory; verified. */
  async readOutput(id: string, file: OutputFile): Promise<Uint8Array> {
    const { directory } = await this.control.job(id);
    const places = [file.url?.startsWith("file:") ? fileURLToPath(file.url) : undefined];
    places.push(isAbsolute(file.path) ? file.path : join(directory, "work", file.path));
    for (const place of places) {
      if (place === undefined) continue;
      const bytes = await readFile(place).catch(() => undefined);
      if (bytes && createHash("sha256").update(bytes).digest("hex") === file.sha256) return bytes;
    }
    throw new Fault("NOT_FOUND", `output '${file.path}' is not on this machine any more`, {
      ...(file.url === undefined || file.url === "" ? {} : { hint: `it was delivered to ${file.url}` }),
    });
  }

  async saveOutput(id: string, file: OutputFile, destination: string): Promise<void> {
    await durableReplace(destination, await this.readOutput(id, file), 0o644);
  }

  async cancel(ids: readonly string[], reason: string, force = false): Promise<readonly ActionResult[]> {
    if (force) {
      const hint = "ask the hub: leave --local away";
      throw new Fault("UNSUPPORTED", "an agent ends no job without proof that nothing of it runs", { hint });
    }
    const results: ActionResult[] = [];
    for (const id of ids) {
      try {
        results.push({ id, ...(await this.control.cancel(id, reason, userInfo().username)) });
      } catch (error) {
        if (!isFault(error, "NOT_FOUND")) throw error;
        results.push({ id, result: "not-found" });
      }
    }
    return results;
  }

  retry(): Promise<readonly ActionResult[]> {
    throw new Fault("UNSUPPORTED", "an agent makes no jobs", { hint: "ask the hub: leave --local away" });
  }

  surroundings(): Promise<Surroundings> {
    return Promise.resolve({ parents: [], sites: undefined, otherWorkflows: [] });
  }

  /** Log files hold no times: all of an attempt that went on at that time, nothing of one that had ended. */
  async #offsetSince(id: string, request: LogRequest, since: string): Promise<number> {
    const { attempts, attempt: last } = await this.control.job(id);
    const attempt = request.attempt ?? request.start ?? last;
    const end = attempts.find((one) => one.attempt === attempt)?.end;
    if (!end || Date.parse(end.ended_at) >= Date.parse(since)) return 0;
    return (await this.control.log(id, request.stream, { attempt, offset: 0, limit: 1 })).size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.control[Symbol.asyncDispose]();
  }
}

export function rowOf(job: LocalJob): JobRow {
  return {
    id: job.id,
    name: job.name ?? "",
    workflow: job.workflow,
    status: job.status,
    state: job.state,
    phase: job.phase,
    hold: job.hold,
    place: job.target,
    owner: "",
    tags: {},
    attempt: job.attempt,
    failure: job.failure,
    end: job.end,
    createdAt: job.claimed_at,
    updatedAt: job.updated_at,
    claimedAt: job.claimed_at,
    endedAt: job.ended_at,
    waiting: job.fenced === null ? job.waiting : `no longer ours: ${job.fenced}`,
    lostContact: false,
    progress: job.progress,
    parents: [],
    retryOf: null,
    raw: job,
  };
}

function fits(row: JobRow, filter: JobFilter): boolean {
  const words = filter.search?.toLowerCase().split(/\s+/) ?? [];
  const text = [row.id, row.name, row.workflow, row.failure?.message ?? ""].join(" ").toLowerCase();
  return (
    (filter.status.length === 0 || filter.status.includes(row.status)) &&
    (!filter.active || !isFinalStatus(row.status)) &&
    (filter.workflow === undefined || filter.workflow === row.workflow) &&
    (filter.since === undefined || row.createdAt >= filter.since) &&
    (filter.before === undefined || row.createdAt < filter.before) &&
    words.every((word) => text.includes(word))
  );
}

function compare(a: JobRow, b: JobRow, sort: JobFilter["sort"]): number {
  const down = sort.startsWith("-") ? -1 : 1;
  const key = sort.replace("-", "");
  const value = (row: JobRow): string =>
    key === "name" ? row.name : key === "updated_at" ? row.updatedAt : row.createdAt;
  return value(a).localeCompare(value(b)) * down;
}

function hasMoved({ progress: before }: JobRow, { progress: now }: JobRow): boolean {
  return before?.bytes !== now?.bytes || before?.files !== now?.files;
}
