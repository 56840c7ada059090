import { isoTime } from "../../common/clock.ts";
import type { CallContext } from "../../common/context.ts";
import type { Token } from "../../common/token.ts";
import type { SchedulerCommand } from "../command.ts";
import type { ScheduledJob } from "../types.ts";
import type { JobMemory } from "./memory.ts";
import { type AccountingRecord, qacctJob, qacctSince, type QacctAnswer } from "./qacct.ts";

/** Jobs in one question by name. The pattern that is made of so many names fits any other name of ours in one case of a hundred thousand. */
const fewAtOnce = 16;
/** What a list of all left out is asked for by name not more often than this. */
const againMs = 60_000;
const clockSkewMs = 86_400_000;

export type History =
  | { readonly state: "answer"; readonly records: readonly AccountingRecord[] }
  | { readonly state: "unknown"; readonly why: string };

type Run = <Answer>(command: SchedulerCommand<Answer>, context: CallContext) => Promise<Answer>;

/**
 * The file in which Grid Engine keeps what has ended. Each question reads all of it, so that there is one for all jobs: by their names where they are few,
 * else a list of all of the account. That leaves out what could not be started; such jobs are asked for by name in between.
 */
export class Accounting {
  readonly #run: Run;
  readonly #memory: JobMemory;
  #lastWasList = false;
  /** The list is longer than can be read. */
  #tooLong = false;

  constructor(run: Run, memory: JobMemory) {
    this.#run = run;
    this.#memory = memory;
  }

  /** Of jobs that are not in the queue, by number. One question at most; none with `asks` false: then what was answered before counts. */
  async byId(
    jobs: readonly ScheduledJob[],
    account: string,
    asks: boolean,
    context: CallContext,
  ): Promise<ReadonlyMap<string, History>> {
    const wanted = new Map(jobs.map((job) => [job.id, { ...job, task: undefined }]));
    const trouble = asks && wanted.size > 0 ? await this.#ask([...wanted.values()], account, context) : new Map();
    return new Map([...wanted].map(([id, job]) => [id, trouble.get(id) ?? this.#remembered(job)]));
  }

  /** Of names that are not in the queue. */
  async byName(
    wanted: readonly { readonly token: Token; readonly since: string }[],
    account: string,
    context: CallContext,
  ): Promise<ReadonlyMap<string, History>> {
    if (wanted.length === 0) return new Map();
    const names = wanted.map(({ token }) => token);
    const since = wanted.map((one) => one.since);
    const command = names.length <= fewAtOnce ? qacctJob(patternOf(names)) : listOf(account, since);
    const history = historyOf(await this.#run(command, context));
    if (history.state === "unknown") return new Map(names.map((name) => [name, history]));
    const groups = Map.groupBy(history.records, ({ name }) => name);
    return new Map(names.map((name) => [name, { state: "answer", records: groups.get(name) ?? [] }]));
  }

  /** The question whose turn it is; what it answers is remembered. Returns those of whom it learned nothing, and why. */
  async #ask(
    jobs: readonly ScheduledJob[],
    account: string,
    context: CallContext,
  ): Promise<ReadonlyMap<string, History>> {
    const now = context.clock.monotonic();
    const due = jobs.filter((job) => now - (this.#memory.of(job).askedAlone ?? Number.NEGATIVE_INFINITY) >= againMs);
    const left = due.filter((job) => this.#memory.of(job).records === undefined);
    const isFew = jobs.length <= fewAtOnce;
    const byName = isFew || (left.length > 0 && (this.#lastWasList || this.#tooLong));
    if (!byName && this.#tooLong) return new Map();
    this.#lastWasList = !byName;
    const asked = isFew ? jobs : byName ? left.slice(0, fewAtOnce) : jobs;
    const answer = await this.#run(byName ? few(asked) : listOf(account, submissions(asked)), context);
    if (answer.state === "unknown") {
      if (!byName && answer.tooLong === true) this.#tooLong = true;
      return new Map(asked.map(({ id }) => [id, answer]));
    }
    const records = Map.groupBy(answer.state === "answer" ? answer.records : [], ({ id }) => id);
    for (const job of asked) {
      const remembered = this.#memory.of(job);
      const found = records.get(job.id);
      if (found !== undefined) remembered.records = found;
      if (byName) remembered.askedAlone = now;
    }
    return new Map();
  }

  #remembered(job: ScheduledJob): History {
    const { records, askedAlone } = this.#memory.of(job);
    if (records !== undefined) return { state: "answer", records };
    if (askedAlone !== undefined) return { state: "answer", records: [] };
    return { state: "unknown", why: "its accounting is asked for soon" };
  }
}

function few(jobs: readonly ScheduledJob[]): SchedulerCommand<QacctAnswer> {
  const [only, ...others] = jobs;
  return qacctJob(only !== undefined && others.length === 0 ? only.id : patternOf(jobs.map(({ token }) => token)));
}

function submissions(jobs: readonly ScheduledJob[]): readonly string[] {
  return jobs.map(({ submittedAt }) => submittedAt);
}

function listOf(account: string, since: readonly string[]): SchedulerCommand<QacctAnswer> {
  return qacctSince(account, isoTime(Math.min(...since.map((time) => Date.parse(time))) - clockSkewMs));
}

/** fnmatch(3): at each place the letters that one of the names has there. Tokens are all of the same length, of letters and digits alone. */
export function patternOf(tokens: readonly Token[]): string {
  const places = Array.from({ length: tokens[0]?.length ?? 0 }, (_, at) => new Set(tokens.map((token) => token[at])));
  return places.map((letters) => (letters.size === 1 ? [...letters].join("") : `[${[...letters].join("")}]`)).join("");
}

function historyOf(answer: QacctAnswer): History {
  return answer.state === "no-file" ? { state: "answer", records: [] } : answer;
}
