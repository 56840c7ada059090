import { throwIfStopped } from "./errors.ts";

/** A job of fewer files does not count. */
export const fewFiles = 5_000;
/** Files of all jobs that are in memory at the same time, besides those of small jobs: of five large ones. */
const mostAtOnce = 100_000;

/** Keeps the jobs of very many files from filling the memory together: those that come when it is full wait for their turn. */
export class Crowd {
  readonly #most: number;
  #files = 0;
  readonly #waiting: { readonly files: number; readonly enter: () => void }[] = [];

  constructor(most = mostAtOnce) {
    this.#most = most;
  }

  /** Undefined: not now. To be disposed of when the files are forgotten. */
  tryEnter(files: number): Disposable | undefined {
    if (files < fewFiles) return place(() => undefined);
    return this.#waiting.length === 0 && this.#fits(files) ? this.#enter(files) : undefined;
  }

  /** In the order in which they come. @throws Fault CANCELLED when the signal aborts first. */
  async enter(files: number, signal: AbortSignal): Promise<Disposable> {
    const now = this.tryEnter(files);
    if (now) return now;
    throwIfStopped(signal);
    const turn = Promise.withResolvers<Disposable | undefined>();
    const one = { files, enter: (): void => turn.resolve(this.#enter(files)) };
    const leave = (): void => {
      const at = this.#waiting.indexOf(one);
      if (at >= 0) this.#waiting.splice(at, 1);
      turn.resolve(undefined);
      this.#admit();
    };
    this.#waiting.push(one);
    signal.addEventListener("abort", leave, { once: true });
    const entered = await turn.promise;
    signal.removeEventListener("abort", leave);
    if (entered) return entered;
    throwIfStopped(signal);
    throw new Error("left without a reason");
  }

  /** One alone always fits: otherwise it would wait for ever. */
  #fits(files: number): boolean {
    return this.#files === 0 || this.#files + files <= this.#most;
  }

  #enter(files: number): Disposable {
    this.#files += files;
    return place(() => {
      this.#files -= files;
      this.#admit();
    });
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next && this.#fits(next.files); next = this.#waiting[0]) {
      this.#waiting.shift();
      next.enter();
    }
  }
}

function place(leave: () => void): Disposable {
  let left = false;
  return {
    [Symbol.dispose]() {
      if (!left) leave();
      left = true;
    },
  };
}
