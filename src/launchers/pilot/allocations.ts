import { basename, join } from "node:path";
import { isoTime } from "../../common/clock.ts";
import type { CallContext } from "../../common/context.ts";
import { failpoint } from "../../common/failpoint.ts";
import { isToken, newToken, type Token } from "../../common/token.ts";
import type { ScheduledJob, ScheduledStatus, SubmitRequest } from "../../schedulers/types.ts";
import { scheduledJobSchema } from "../batch/job-schema.ts";
import { logFile, logTail, placeProgram, readSubmission, writeSubmission } from "../batch/places.ts";
import { Submissions } from "../batch/submissions.ts";
import { PilotNode } from "./node.ts";
import type { PilotLauncherOptions } from "./options.ts";
import { allocationBody } from "./script.ts";

export interface Allocation {
  readonly token: Token;
  readonly directory: string;
  readonly nodes: Map<number, PilotNode>;
  job: ScheduledJob | undefined;
  scheduled: ScheduledStatus | undefined;
  /** We are just submitting it; nobody else looks for it. */
  submitting: boolean;
  /** By our monotonic clock: since when the scheduler does not know it. */
  absentAt: number | undefined;
  /** Proof that nothing of it runs any more; `at` by our monotonic clock. */
  over: { readonly why: string; readonly at: number } | undefined;
  cancelled: boolean;
  /** It is over, and it is known whether it was good for anything. */
  weighed: boolean;
}

/** After allocations that ended before their node agents said a word, the pause until the next: doubled each time. */
const firstPauseMs = 10_000;
const longestPauseMs = 10 * 60_000;
const limitedPauseMs = 30_000;
const rejectedPauseMs = 5 * 60_000;
/** Directories of allocations that are over stay for people who look for their logs. */
const keptMs = 7 * 24 * 3_600_000;
const maxFileBytes = 64 * 1024;

/**
 * The allocations of a target, each with a directory `.siteagent/pilots/<pool>/<token>` on the shared file system: `submission` durable before
 * it is submitted, `job` when it was accepted, `over` when the scheduler has proven its end, `nodes/` written by its node agents. All that is
 * known of allocations is there: who starts anew reads it, and submits none a second time.
 */
export class Allocations {
  readonly all = new Map<Token, Allocation>();
  /** Why there are not more of them, in words; undefined = nothing is wrong. */
  trouble: string | undefined;
  readonly #options: PilotLauncherOptions;
  readonly #submissions: Submissions;
  readonly #root: string;
  #pausedUntil = Number.NEGATIVE_INFINITY;
  #failures = 0;

  constructor(options: PilotLauncherOptions) {
    this.#options = options;
    this.#submissions = new Submissions(options.queue, options.settleMs);
    this.#root = join(options.host.workdir, ".siteagent", "pilots", options.pool);
  }

  get alive(): readonly Allocation[] {
    return [...this.all.values()].filter((one) => !one.over);
  }

  /** Those on which nothing can be placed yet. */
  get coming(): readonly Allocation[] {
    return this.alive.filter((one) => ![...one.nodes.values()].some((node) => node.beat));
  }

  /** Why what waits for one does wait, for people. */
  get reason(): string {
    const { alive, trouble } = this;
    const queued = alive.find(({ scheduled }) => scheduled?.state === "queued")?.scheduled;
    const why = queued?.state === "queued" && queued.reason !== undefined ? ` (${queued.reason})` : "";
    const there =
      alive.length === 0 ? "waits for an allocation" : `waits for room in ${alive.length} allocations${why}`;
    return trouble === undefined ? there : `${there}; ${trouble}`;
  }

  /** Reads what an earlier agent left. @throws Fault when it cannot be read: then nothing is known. */
  async load(context: CallContext): Promise<void> {
    const { host } = this.#options;
    for (const name of (await host.files.list(this.#root, context)) ?? []) {
      if (!isToken(name) || this.all.has(name)) continue;
      const directory = join(this.#root, name);
      const endedAtMs = (await host.files.stat(join(directory, "over"), context))?.mtimeMs;
      if (endedAtMs !== undefined && context.clock.now() - endedAtMs > keptMs) {
        await host.files.remove(directory, context);
        continue;
      }
      if ((await readSubmission(host, directory, context)) === undefined) {
        await host.files.remove(directory, context); // nothing was submitted
        continue;
      }
      const [job, over] = [await this.#text(directory, "job", context), await this.#text(directory, "over", context)];
      const one = allocation(name, directory);
      if (job !== undefined) one.job = scheduledJobSchema.parse(JSON.parse(job));
      if (over !== undefined) {
        one.over = { why: over.trim(), at: Number.NEGATIVE_INFINITY };
        one.weighed = true;
      }
      await this.discover(one, context);
      this.all.set(name, one);
    }
  }

  /** By the path of a node's directory; undefined when it is none of ours. */
  nodeAt(directory: string): { readonly one: Allocation; readonly node: PilotNode } | undefined {
    const parts = /^(.*)\/nodes\/(\d+)$/.exec(directory.trim());
    const token = basename(parts?.[1] ?? "");
    const one = isToken(token) ? this.all.get(token) : undefined;
    if (!one || join(this.#root, token) !== parts?.[1]) return undefined;
    return { one, node: this.#node(one, Number(parts[2])) };
  }

  /** Nodes that have begun since the last look. */
  async discover(one: Allocation, context: CallContext): Promise<void> {
    if (one.nodes.size >= this.#options.nodes) return;
    const names = (await this.#options.host.files.list(join(one.directory, "nodes"), context)) ?? [];
    for (const name of names) if (/^\d+$/.test(name)) this.#node(one, Number(name));
  }

  /** Asks the scheduler for all that are not over, and notes what is proven. */
  async follow(context: CallContext): Promise<void> {
    const { queue } = this.#options;
    const now = context.clock.monotonic();
    for (const one of this.alive) if (!one.job && !one.submitting) await this.#seek(one, context);
    const known = this.alive.flatMap((one) => (one.job ? [{ one, job: one.job }] : []));
    if (known.length === 0) return;
    const statuses = await queue.statuses(
      known.map(({ job }) => job),
      context,
    );
    for (const [index, { one }] of known.entries()) {
      const status = statuses[index];
      one.scheduled = status;
      one.absentAt = status?.state === "absent" ? (one.absentAt ?? now) : undefined;
      if (status?.state === "ended") await this.#end(one, `the scheduler says '${status.verdict.raw}'`, context);
      else if (one.absentAt !== undefined && now - one.absentAt >= this.#options.patience.lostMs)
        await this.#end(one, "the scheduler knows nothing of it any more", context);
    }
  }

  async submit(count: number, keep: boolean, context: CallContext): Promise<void> {
    for (let left = count; left > 0; left--) {
      const unsure = [...this.all.values()].some((one) => one.over && !one.weighed);
      if (unsure || context.clock.monotonic() < this.#pausedUntil) return;
      await this.#submitOne(keep, context);
    }
  }

  /** Gives back what waits in the scheduler's queue and nobody needs; the newest first. */
  async cancelQueued(count: number, context: CallContext): Promise<void> {
    const queued = this.coming.filter(({ scheduled, cancelled }) => scheduled?.state === "queued" && !cancelled);
    for (const one of queued.slice(-count)) {
      one.cancelled = true;
      if (one.job) await this.#options.queue.cancel([one.job], context);
    }
  }

  #node(one: Allocation, index: number): PilotNode {
    const known = one.nodes.get(index);
    if (known) return known;
    const node = new PilotNode(one.directory, index);
    one.nodes.set(index, node);
    return node;
  }

  async #submitOne(keep: boolean, context: CallContext): Promise<void> {
    const { host, queue } = this.#options;
    const token = newToken();
    const at = isoTime(context.clock.now());
    const one = allocation(token, join(this.#root, token));
    const request = await this.#request(one, keep, context);
    await host.files.mkdir(join(one.directory, "nodes"), {}, context);
    await failpoint("pilot.before-intent");
    await writeSubmission(host, one.directory, { token, at }, context);
    await failpoint("pilot.after-intent");
    one.submitting = true;
    this.all.set(token, one);
    try {
      const [result] = await queue.submit([request], context);
      await failpoint("pilot.after-submit");
      if (result?.state === "submitted") await this.#accepted(one, { ...result.job, submittedAt: at }, context);
      if (result?.state === "limited") await this.#refused(one, result.reason, limitedPauseMs, context);
      if (result?.state === "rejected") await this.#refused(one, result.reason, rejectedPauseMs, context);
    } finally {
      one.submitting = false;
    }
  }

  async #request(one: Allocation, keep: boolean, context: CallContext): Promise<SubmitRequest> {
    const { host, node, nodes, placement, preamble, path, starter } = this.#options;
    const { walltimeMs, marginMs, idleMs, beatMs } = this.#options;
    const walltimeS = Math.ceil(walltimeMs / 1000);
    return {
      token: one.token,
      tasks: 1,
      resources: {
        nodes,
        ranks_per_node: 1,
        threads_per_rank: node.cores,
        cores: node.cores,
        gpus: node.gpuIds.length,
        memory: node.memoryBytes,
      },
      walltimeS,
      placement,
      directory: one.directory,
      log: join(one.directory, logFile),
      body: allocationBody({
        path,
        preamble,
        starter,
        directory: one.directory,
        node: await placeProgram(host, "node.pl", context),
        recorder: await placeProgram(host, "recorder.pl", context),
        nodes,
        cores: node.cores,
        memoryBytes: node.memoryBytes,
        walltimeS,
        marginS: Math.ceil(marginMs / 1000),
        idleS: keep ? 0 : Math.max(1, Math.ceil(idleMs / 1000)),
        beatS: Math.max(1, Math.round(beatMs / 1000)),
      }),
    };
  }

  async #accepted(one: Allocation, job: ScheduledJob, context: CallContext): Promise<void> {
    one.job = job;
    this.trouble = undefined;
    await this.#options.host.files.write(join(one.directory, "job"), JSON.stringify(job), { mode: 0o600 }, context);
  }

  /** Certain that nothing was accepted. */
  async #refused(one: Allocation, reason: string, pauseMs: number, context: CallContext): Promise<void> {
    this.#pausedUntil = context.clock.monotonic() + pauseMs;
    this.trouble = `the scheduler takes no further allocation: ${reason}`;
    context.log.warn({ reason }, "an allocation was refused");
    await this.#forget(one, context);
  }

  /** It was never accepted. Should it begin all the same: without its directory it ends at once. */
  async #forget(one: Allocation, context: CallContext): Promise<void> {
    this.all.delete(one.token);
    await this.#options.host.files.remove(one.directory, context);
  }

  /** What became of a submission without a clear answer, or of one that an earlier agent made. */
  async #seek(one: Allocation, context: CallContext): Promise<void> {
    const submission = await readSubmission(this.#options.host, one.directory, context);
    const found = submission && (await this.#submissions.find(submission, context));
    if (found?.state === "found") return this.#accepted(one, found.job, context);
    if (found?.state !== "absent") return;
    await this.discover(one, context);
    // A job that has begun and is not known any more is not one that never was.
    if (one.nodes.size === 0) return this.#forget(one, context);
    const now = context.clock.monotonic();
    one.absentAt ??= now;
    if (now - one.absentAt >= this.#options.patience.lostMs)
      await this.#end(one, "the scheduler knows nothing of it any more", context);
  }

  async #end(one: Allocation, why: string, context: CallContext): Promise<void> {
    const { host, queue } = this.#options;
    await this.discover(one, context);
    await host.files.write(join(one.directory, "over"), `${why}\n`, { mode: 0o600 }, context);
    one.over = { why, at: context.clock.monotonic() };
    if (one.job) queue.forget(one.job);
  }

  /** When all is read that an allocation which is over said: one that ran nothing makes the next one wait. */
  async weigh(one: Allocation, context: CallContext): Promise<void> {
    one.weighed = true;
    if (one.cancelled || [...one.nodes.values()].some(({ fruitful }) => fruitful)) {
      this.#failures = 0;
      return;
    }
    this.#failures++;
    this.#pausedUntil = context.clock.monotonic() + Math.min(longestPauseMs, firstPauseMs * 2 ** (this.#failures - 1));
    const said = await logTail(this.#options.host, one.directory, context);
    const words = [one.over?.why, said].filter((word) => word !== undefined).join("; its script said: ");
    this.trouble = `the last allocation ended before it could run anything: ${words}`;
    context.log.warn({ why: one.over?.why, said }, "an allocation ended before it could run anything");
  }

  async #text(directory: string, name: string, context: CallContext): Promise<string | undefined> {
    const bytes = await this.#options.host.files.read(join(directory, name), { maxBytes: maxFileBytes }, context);
    return bytes?.toString("utf8");
  }
}

function allocation(token: Token, directory: string): Allocation {
  return {
    token,
    directory,
    nodes: new Map(),
    job: undefined,
    scheduled: undefined,
    submitting: false,
    absentAt: undefined,
    over: undefined,
    cancelled: false,
    weighed: false,
  };
}
