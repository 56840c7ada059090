import type { ToWorker } from "./messages.ts";
import type { Reader } from "./reader.ts";
import type { WriterPort } from "./writing.ts";

/** Of one message; records are decoded at the other end, which costs less than to send them as objects. */
const messageBytes = 256 * 1024;
/** So many messages may be on their way: the file is read no faster than its records are taken. */
const mostUnderWay = 4;

/** What has come for the writing side, in order. */
export class Inbox {
  readonly #port: WriterPort;
  #queue: ToWorker[] = [];
  #wake: () => void = () => {};

  constructor(port: WriterPort) {
    this.#port = port;
    port.listen((message) => {
      this.#queue.push(message);
      this.#wake();
    });
  }

  /** All that has come. */
  take(): readonly ToWorker[] {
    const taken = [...this.#queue, ...this.#port.take()];
    this.#queue = [];
    return taken;
  }

  /** Takes the messages of this type and leaves the others; how many there were. */
  takeAll(type: ToWorker["type"]): number {
    const all = this.take();
    this.#queue = all.filter((message) => message.type !== type);
    return all.length - this.#queue.length;
  }

  /** Calls `run` at each arrival from now on, and now if something is there. */
  onArrival(run: () => void): void {
    this.#wake = run;
    if (this.#queue.length > 0) run();
  }

  /** Resolves at the next arrival. */
  async next(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await promise;
  }
}

/** Brings what a journal holds to the agent's side while the file is read, a bounded part of it at a time. */
export class Courier implements Reader {
  readonly #port: WriterPort;
  readonly #inbox: Inbox;
  #bytes = Buffer.alloc(0);
  #length = 0;
  #underWay = 0;

  constructor(port: WriterPort, inbox: Inbox) {
    this.#port = port;
    this.#inbox = inbox;
  }

  begin(state: Buffer | undefined): void {
    this.#length = 0;
    const copy = state && new Uint8Array(state);
    this.#port.post({ type: "begin", state: copy }, copy ? [copy.buffer] : []);
  }

  record(json: Buffer): void {
    const needed = json.length + 1;
    if (this.#length + needed > this.#bytes.length) {
      this.flush();
      this.#bytes = Buffer.from(new ArrayBuffer(Math.max(messageBytes, needed)));
    }
    this.#length += json.copy(this.#bytes, this.#length);
    this.#bytes[this.#length++] = 0x0a;
  }

  /** Sends what is there. */
  flush(): void {
    if (this.#length === 0) return;
    const lines = new Uint8Array(this.#bytes.buffer as ArrayBuffer, 0, this.#length);
    this.#port.post({ type: "records", lines }, [lines.buffer]);
    this.#bytes = Buffer.alloc(0);
    this.#length = 0;
    this.#underWay++;
  }

  pause(): Promise<void> | undefined {
    return this.#underWay < mostUnderWay ? undefined : this.#wait();
  }

  async #wait(): Promise<void> {
    for (;;) {
      this.#underWay -= this.#inbox.takeAll("taken");
      if (this.#underWay < mostUnderWay) return;
      await this.#inbox.next();
    }
  }
}
