import { type AttemptName, identitiesOf, remainingOf } from "./attempt-status.ts";
import type { Evidence } from "./evidence.ts";
import { type ProcessStat, readStat } from "./processes.ts";

/** Sends a signal to a process, or to a group by its negative number; false when there is none. */
export type Send = (target: number, signal: NodeJS.Signals) => boolean;

export const sendSignal: Send = (target, signal) => {
  try {
    process.kill(target, signal);
    return true;
  } catch {
    return false; // it ended, or it became another user's
  }
};

/** The processes of one attempt while it is being ended; looked at again and again, a fraction of a second apart. */
export class ProcessTree {
  readonly #name: AttemptName;
  readonly #evidence: Evidence;
  readonly #send: Send;
  /** Groups that are not the attempt's alone: the recorder's, in which the command is for an instant, and our own. */
  readonly #foreign: ReadonlySet<number>;
  /** The attempt's as far as the last look saw: who is in them stays ours when what it descends from has ended. */
  readonly #sessions = new Set<number>();

  constructor(name: AttemptName, evidence: Evidence, send: Send) {
    this.#name = name;
    this.#evidence = evidence;
    this.#send = send;
    const recorder = identitiesOf(name, evidence).recorder;
    const here = readStat(process.pid);
    const leading = recorder === undefined ? undefined : readStat(recorder.pid);
    this.#foreign = new Set([0, 1, recorder?.pid, leading?.group, here?.group].filter((group) => group !== undefined));
  }

  /** Those that live now, zombies not counted. */
  look(): readonly ProcessStat[] {
    const { processes } = remainingOf(this.#name, this.#evidence, this.#sessions);
    for (const { session } of processes) if (!this.#foreign.has(session)) this.#sessions.add(session);
    return processes;
  }

  /**
   * To all that are found now, one by one and by their groups: a process that forks and ends faster than we look is not there any more
   * when its own number is signalled, its group is. Returns what was found.
   */
  signal(...signals: readonly NodeJS.Signals[]): readonly ProcessStat[] {
    const found = this.look();
    for (const signal of signals) this.#signalAll(found, signal);
    return found;
  }

  /** As `signal` with SIGKILL, and the group of each session that we saw a moment ago, also where nobody was found in it just now. */
  kill(): readonly ProcessStat[] {
    const found = this.signal("SIGKILL");
    // With its first process gone the number can be nobody else's: it stays reserved while a member lives.
    for (const session of this.#sessions) if (readStat(session) === undefined) this.#send(-session, "SIGKILL");
    return found;
  }

  /** Stops all, so that nothing forks faster than we look while it is being killed. */
  freeze(): void {
    const stopped = new Set<number>();
    for (let round = 0; round < 20; round++) {
      const fresh = this.look().filter((found) => !stopped.has(found.pid));
      if (fresh.length === 0) return;
      this.#signalAll(fresh, "SIGSTOP");
      for (const found of fresh) stopped.add(found.pid);
    }
  }

  #signalAll(found: readonly ProcessStat[], signal: NodeJS.Signals): void {
    for (const group of new Set(found.map((each) => each.group))) {
      // A group lies in one session; its number stays reserved while a member lives.
      if (!this.#foreign.has(group)) this.#send(-group, signal);
    }
    // Twice does no harm, except where a program hears it: then once.
    const once = signal !== "SIGKILL" && signal !== "SIGSTOP";
    for (const each of found) {
      if (once && !this.#foreign.has(each.group)) continue;
      if (each.pid > 1 && readStat(each.pid)?.startTicks === each.startTicks) this.#send(each.pid, signal);
    }
  }
}
