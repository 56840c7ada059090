import { limitTexts } from "../format/limits.ts";
import { constants, createWriteStream } from "node:fs";
import { mkdtemp, open, readFile, rename, rm } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../common/clock.ts";
import { createHash, randomUUID } from "../../common/crypto.ts";
import { syncDirectory } from "../../common/files.ts";
import { asFault, Fault, isFault } from "../../common/fault.ts";
import type { DeliveredFiles } from "../../compose-delivered.ts";
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
  #delivered: Promise<DeliveredFiles> | undefined;

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

  async readOutput(id: string, file: OutputFile): Promise<Uint8Array> {
    const directory = await mkdtemp(join(tmpdir(), "siteagent-"));
    try {
      const path = join(directory, "output");
      await this.saveOutput(id, file, path);
      return await readFile(path);
    } finally {
      await rm(directory, { recursive: true });
    }
  }

  /** From the place where it was delivered when that is a file here, else from the work directory, else from where it was delivered to. */
  async saveOutput(id: string, file: OutputFile, destination: string): Promise<void> {
    const { directory } = await this.control.job(id);
    const places = [isAbsolute(file.path) ? file.path : join(directory, "work", file.path)];
    if (file.url?.startsWith("file:")) places.unshift(fileURLToPath(file.url));
    for (const place of places) if (await copyOutput(place, file, destination)) return;
    const { url = "" } = file;
    if (/^(?!file:|siteagent:)./.test(url)) return await this.#fetch({ ...file, url }, destination);
    const where = url.startsWith("siteagent:") ? "the hub: leave --local away" : url;
    throw new Fault("NOT_FOUND", `output '${file.path}' is not on this machine any more`, {
      ...(url === "" ? {} : { hint: `it was delivered to ${where}` }),
    });
  }

  async #fetch(file: OutputFile & { readonly url: string }, destination: string): Promise<void> {
    const [{ DeliveredFiles }, { silentLogger }] = await Promise.all([
      import("../../compose-delivered.ts"),
      import("../../common/logger.ts"),
    ]);
    this.#delivered ??= DeliveredFiles.open((await this.control.status()).config.file);
    const { signal } = this.#context;
    try {
      await (await this.#delivered).save(file, destination, { signal, log: silentLogger, clock: systemClock });
    } catch (error) {
      const { code, message, hint } = asFault(error);
      if (code === "CANCELLED") throw error;
      const why = `output '${file.path}' cannot be fetched from ${file.url}: ${message}`;
      throw new Fault("NOT_FOUND", why, { cause: error, ...(hint !== undefined && { hint }) });
    }
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
    await (await this.#delivered?.catch(() => undefined))?.[Symbol.asyncDispose]();
    await this.control[Symbol.asyncDispose]();
  }
}

/** False when what lies there is not, or not any more, that output. */
async function copyOutput(place: string, wanted: OutputFile, destination: string): Promise<boolean> {
  // A fifo of the job is not waited for.
  const source = await open(place, constants.O_RDONLY | constants.O_NONBLOCK).catch(() => undefined);
  if (!source) return false;
  await using file = source;
  const stats = await file.stat();
  if (!stats.isFile() || stats.size !== wanted.bytes) return false;
  const temporary = `${destination}.${randomUUID()}.tmp`;
  try {
    const hash = createHash("sha256");
    await pipeline(
      file.createReadStream({ autoClose: false }),
      async function* (pieces: AsyncIterable<Buffer>) {
        for await (const piece of pieces) {
          hash.update(piece);
          yield piece;
        }
      },
      createWriteStream(temporary, { flags: "wx", mode: 0o644, flush: true }),
    );
    if (hash.digest("hex") !== wanted.sha256) return false;
    await rename(temporary, destination);
  } finally {
    await rm(temporary, { force: true });
  }
  await syncDirectory(dirname(destination));
  return true;
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
