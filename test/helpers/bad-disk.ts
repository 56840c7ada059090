/** This machine with the journal on a disk that a test makes hang, or full. */
import { type Machine, thisMachine } from "../../src/agent/machine.ts";
import type { Clock } from "../../src/common/clock.ts";
import { systemDisk } from "../../src/journal/disk.ts";
import { openJournal, type StartWriter } from "../../src/journal/journal.ts";
import type { ToWorker } from "../../src/journal/messages.ts";
import { serve } from "../../src/journal/writing.ts";

export class BadDisk {
  /** What each write to it says; undefined = it takes them. */
  writeError: "ENOSPC" | "EDQUOT" | undefined;
  /** Inodes that are left; undefined = no fixed number. */
  freeFiles: number | undefined;
  #hangs = false;
  /** What waits for the disk, in order. */
  #waiting: (() => void)[] = [];

  /** From now on no call of the disk returns. */
  hang(): void {
    this.#hangs = true;
  }

  /** All that was asked meanwhile is done. */
  answer(): void {
    this.#hangs = false;
    for (const run of this.#waiting.splice(0)) run();
  }

  /** Seen through `clock`. */
  machine(clock: Clock): Machine {
    return {
      ...thisMachine,
      openJournal: (options) =>
        openJournal({ ...options, limits: { ballastBytes: 64 * 1024 } }, (data, events) =>
          this.#start(data, events, clock),
        ),
      freeRoom: async (directory) => {
        await new Promise<void>((resolve) => this.#whenItAnswers(resolve));
        const free = await thisMachine.freeRoom(directory);
        return free && { ...free, files: this.freeFiles };
      },
    };
  }

  #whenItAnswers(run: () => void): void {
    if (this.#hangs) this.#waiting.push(run);
    else run();
  }

  #later(run: () => void): void {
    setImmediate(() => this.#whenItAnswers(run));
  }

  /** The writing side in this process, reached in turns of its own. */
  #start(...[data, events, clock]: [...Parameters<StartWriter>, Clock]): ReturnType<StartWriter> {
    const arrived = Promise.withResolvers<(message: ToWorker) => void>();
    const disk = {
      ...systemDisk,
      write: (...call: Parameters<typeof systemDisk.write>): number => {
        if (this.writeError !== undefined) throw Object.assign(new Error(this.writeError), { code: this.writeError });
        return systemDisk.write(...call);
      },
    };
    const port = {
      post: (message: Parameters<typeof events.message>[0]) => this.#later(() => events.message(message)),
      listen: arrived.resolve,
      take: () => [],
      close: () => this.#later(events.exit),
    };
    void serve(port, data, { disk, clock });
    return {
      post: (message) => this.#later(() => void arrived.promise.then((take) => take(message))),
      end() {},
    };
  }
}
