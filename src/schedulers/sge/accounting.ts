import { isoTime } from "../../common/clock.ts";
import type { CallContext } from "../../common/context.ts";
import type { Token } from "../../common/token.ts";
import type { SchedulerCommand } from "../command.ts";
import type { ScheduledJob } from "../types.ts";
import type { JobMemory } from "./memory.ts";
import { type AccountingRecord, qacctJob, qacctSince, type QacctAnswer } from "./qacct.ts";

/** Each question reads the whole file of a cell, so that not more than this many are asked for one job alone at a time. */
const aloneAtOnce = 4;
/** A job without a record is asked for alone not more often than this. */
const againMs = 60_000;
const clockSkewMs = 86_400_000;

export type History =
  | { readonly state: "answer"; readonly records: readonly AccountingRecord[] }
  | { readonly state: "unknown"; readonly why: string };

type Run = <Answer>(command: SchedulerCommand<Answer>, context: CallContext) => Promise<Answer>;

/** The file in which Grid Engine keeps what has ended: one question for many jobs, and few for single ones. */
export class Accounting {
  readonly #run: Run;
  readonly #memory: JobMemory;

  constructor(run: Run, memory: JobMemory) {
    this.#run = run;
    this.#memory = memory;
  }

  /** Of jobs that are not in the queue, by number. */
  async byId(
    jobs: readonly ScheduledJob[],
    account: string,
    context: CallContext,
  ): Promise<ReadonlyMap<string, History>> {
    const byNumber = new Map(jobs.map((job) => [job.id, this.#memory.of({ ...job, task: undefined })] as const));
    const ids = [...byNumber.keys()];
    const since = jobs.map(({ submittedAt }) => submittedAt);
    const found = await this.#together(ids, since, account, context, ({ id }) => id);
    const now = context.clock.monotonic();
    const left = ids.filter((id) => found.get(id)?.state !== "answer");
    const due = left.filter((id) => now - (byNumber.get(id)?.askedAlone ?? Number.NEGATIVE_INFINITY) >= againMs);
    for (const id of ids.length <= aloneAtOnce ? left : due.slice(0, aloneAtOnce)) {
      const remembered = byNumber.get(id);
      if (remembered) remembered.askedAlone = now;
      found.set(id, historyOf(await this.#run(qacctJob(id), context)));
    }
    for (const id of left) {
      if (found.has(id)) continue;
      const asked = byNumber.get(id)?.askedAlone !== undefined;
      found.set(
        id,
        asked ? { state: "answer", records: [] } : { state: "unknown", why: "its accounting is asked for soon" },
      );
    }
    return found;
  }

  /** Of names that are not in the queue. */
  async byName(
    wanted: readonly { readonly token: Token; readonly since: string }[],
    account: string,
    context: CallContext,
  ): Promise<ReadonlyMap<string, History>> {
    const names = wanted.map(({ token }) => token);
    const since = wanted.map((one) => one.since);
    const found = await this.#together(names, since, account, context, ({ name }) => name);
    for (const name of names) {
      if (found.has(name)) continue;
      if (names.length > aloneAtOnce) found.set(name, { state: "answer", records: [] });
      else found.set(name, historyOf(await this.#run(qacctJob(name), context)));
    }
    return found;
  }

  /** One question for many; nothing where there are few. What it does not answer may still be there: jobs that could not be started. */
  async #together(
    keys: readonly string[],
    since: readonly string[],
    account: string,
    context: CallContext,
    keyOf: (record: AccountingRecord) => string,
  ): Promise<Map<string, History>> {
    const found = new Map<string, History>();
    if (keys.length <= aloneAtOnce) return found;
    const earliest = Math.min(...since.map((time) => Date.parse(time))) - clockSkewMs;
    const answer = historyOf(await this.#run(qacctSince(account, isoTime(earliest)), context));
    if (answer.state === "unknown") {
      for (const key of keys) found.set(key, answer);
      return found;
    }
    const groups = Map.groupBy(answer.records, keyOf);
    for (const key of keys) {
      const records = groups.get(key);
      if (records) found.set(key, { state: "answer", records });
    }
    return found;
  }
}

function historyOf(answer: QacctAnswer): History {
  return answer.state === "no-file" ? { state: "answer", records: [] } : answer;
}
