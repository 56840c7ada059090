import type { MoveListener, PlannedFile } from "./plan.ts";
import type { TransferContext } from "./types.ts";

/** The same context; `hear` is told of bytes as an adapter moves them. */
export function heard(context: TransferContext, hear: (bytes: number) => void): TransferContext {
  const { remote } = context;
  const elsewhere = (bytes: number): void => hear(bytes);
  if (!remote) return { ...context, elsewhere };
  const flow = async (bytes: number): Promise<void> => {
    await remote.flow(bytes);
    hear(bytes);
  };
  return {
    ...context,
    elsewhere,
    remote: {
      fragile: remote.fragile === true,
      flow,
      begin: () => remote.begin(),
      done: () => remote.done(),
      failed: (fault) => remote.failed(fault),
    },
  };
}

/**
 * Bytes of many files that go together are told while they move, although nobody knows yet whose they are: when a file has arrived as
 * many less are told of it. What moves may be more or less than the files, as archives and differences are: never more than they have.
 */
export class Ahead {
  readonly #hear: MoveListener;
  readonly #left: ReadonlyMap<string, PlannedFile>;
  #bytes = 0;
  /** Bytes of this try's files that were not told of. */
  #room = 0;

  /** `left`: the files that have not arrived, at any time. */
  constructor(hear: MoveListener, left: ReadonlyMap<string, PlannedFile>) {
    this.#hear = hear;
    this.#left = left;
  }

  /** To be told of files that have arrived. */
  get listener(): MoveListener {
    return {
      moved: (file, bytes) => {
        const told = Math.min(this.#bytes, bytes);
        this.#bytes -= told;
        this.#room -= bytes - told;
        this.#hear.moved(file, bytes - told);
      },
      done: (file, moved) => this.#hear.done(file, moved),
    };
  }

  /** To move them with. */
  context(context: TransferContext): TransferContext {
    this.#room = 0;
    for (const { bytes } of this.#left.values()) this.#room += bytes ?? 0;
    return heard(context, (bytes) => {
      const [file] = this.#left.values();
      const more = Math.min(bytes, this.#room);
      if (!file || more <= 0) return;
      this.#room -= more;
      this.#bytes += more;
      this.#hear.moved(file, more);
    });
  }

  /** The try is over: what has not arrived has not moved. */
  undo(): void {
    const [file] = this.#left.values();
    if (file && this.#bytes > 0) this.#hear.moved(file, -this.#bytes);
    this.#bytes = 0;
  }
}
