/** Files to and from a private OpenSSH server on loopback: the transfer engine over SFTP beside the programs that people use. */
import { execFile } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { mkdir, open, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { repository } from "../scripts/lib/run.ts";
import { InputCache } from "../src/transfer/cache/index.ts";
import { sshd } from "../test/helpers/engines/sshd.ts";
import { SshServer } from "../test/helpers/engines/ssh-server.ts";
import { Relay } from "../test/helpers/relay.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../test/helpers/temporary.ts";
import { type Bench, type Figure, median } from "./lib/bench.ts";
import type { AloneFigures, AloneTask } from "./lib/mover-alone.ts";
import {
  bareSftp,
  digest,
  type Direction,
  type Mover,
  OurMover,
  rsync,
  scp,
  sftp,
  tar,
  type Way,
} from "./lib/movers.ts";
import { cpuSeconds } from "./lib/process.ts";

const run = promisify(execFile);
const mebibyte = 1024 * 1024;
const smallBytes = 4_096;
/** Each way. */
const delayMs = 25;
/** Flat is what a file of this size takes more than one of a quarter of it, MiB. */
const flatMiB = 16;

interface Sizes {
  readonly rounds: number;
  readonly mebibytes: number;
  readonly files: number;
  /** Over the line with delay. */
  readonly farFiles: number;
}

export const bench: Bench = {
  about:
    "A private sshd on loopback. One file of 1 GiB, and 10,000 files of 4 KiB in 100 directories, up and down, until everything is at its place and compared by SHA-256: the engine does that by itself (and makes files here durable), peers run `sha256sum` on both ends at the same time afterwards. All in turn in the same round; the page cache is warm. The engine has moved it once before and keeps its connection, as the agent does; peers log in each time. With delay: through a relay in user space with round trips of 50 ms, and 200 files, because `sftp -r` takes a fifth of a second for each. Processor time: of the process that moves and, for sftp, that of sftp, ssh and one `sha256sum` of the file; what sshd, the server for files and digests at the far end take is in neither.",
  async run({ quick, say }) {
    const found = await sshd.probe();
    if (!found.ok) {
      say(`not measured: ${found.reason}`);
      return [];
    }
    const sizes: Sizes = quick
      ? { rounds: 1, mebibytes: 64, files: 500, farFiles: 20 }
      : { rounds: 3, mebibytes: 1_024, files: 10_000, farFiles: 200 };
    await using scene = await Scene.start(sizes, say);
    return [
      ...(await scene.large()),
      ...(await scene.small()),
      ...(await scene.delayed()),
      ...(await scene.again()),
      ...(await scene.resources()),
    ];
  },
};

class Scene implements AsyncDisposable {
  readonly #sizes: Sizes;
  readonly #say: (line: string) => void;
  readonly #server: SshServer;
  readonly #here: TemporaryDirectory;

  private constructor(sizes: Sizes, say: (line: string) => void, server: SshServer, here: TemporaryDirectory) {
    this.#sizes = sizes;
    this.#say = say;
    this.#server = server;
    this.#here = here;
  }

  static async start(sizes: Sizes, say: (line: string) => void): Promise<Scene> {
    const scene = new Scene(sizes, say, await SshServer.start(), await temporaryDirectory("sa-bench-"));
    const [here, far] = [scene.#here, scene.#server.directory];
    await makeLarge(here.join("large"), sizes.mebibytes);
    await makeSmall(here.join("small"), sizes.files);
    await makeSmall(here.join("few"), sizes.farFiles);
    await run("cp", ["-r", here.join("large"), here.join("small"), here.join("few"), far.path]);
    return scene;
  }

  /** One large file. */
  async large(): Promise<readonly Figure[]> {
    const way = this.#way(this.#server.port);
    await using own = new OurMover(way, "file");
    const movers = [own, await sftp(way, ""), await scp(way), await rsync(way, "--whole-file")];
    const { mebibytes } = this.#sizes;
    return await this.#rows({
      movers,
      name: "large",
      what: `one file of ${mebibytes} MiB`,
      amount: mebibytes,
      slow: 1,
    });
  }

  async small(): Promise<readonly Figure[]> {
    const way = this.#way(this.#server.port);
    const { files } = this.#sizes;
    return await this.#trees(way, { name: "small", what: `${files} files of 4 KiB`, amount: files, slow: 3 });
  }

  async delayed(): Promise<readonly Figure[]> {
    await using relay = await Relay.start(this.#server.port, { delayMs });
    const lines = [this.#server.name, `[127.0.0.1]:${relay.port}`].map((name) =>
      this.#server.knownLine("ed25519", name),
    );
    await this.#server.know((await Promise.all(lines)).join(""));
    const { farFiles } = this.#sizes;
    const what = `${farFiles} files of 4 KiB with 50 ms`;
    return await this.#trees(this.#way(relay.port), { name: "few", what, amount: farFiles, slow: 5, others: false });
  }

  /** The same inputs once more, for another job. */
  async again(): Promise<readonly Figure[]> {
    const { files, rounds } = this.#sizes;
    const directory = this.#here.join("cache");
    const settings = { maxBytes: 2 ** 34, minFreeBytes: 0, placing: "copy", trust: "version" } as const;
    const cache = new InputCache({ ...settings, directory, agent: async () => "bench" });
    await using own = new OurMover(this.#way(this.#server.port), "directory", cache);
    const [moved, seconds]: [number[], number[]] = [[], []];
    for (let round = 0; round <= rounds; round++) {
      const startedAt = performance.now();
      const to = this.#here.join("moved");
      const { movedBytes } = await own.run("down", this.#server.directory.join("small"), to);
      const took = (performance.now() - startedAt) / 1000;
      this.#say(`small down, time ${round + 1} with a cache: ${took.toFixed(2)} s, ${movedBytes} bytes moved`);
      await rm(to, { recursive: true });
      if (round === 0) continue;
      moved.push(movedBytes);
      seconds.push(took);
    }
    const held = moved.every((bytes) => bytes === 0);
    return [
      { what: `bytes moved by a second stage-in of ${files} files`, values: moved, goal: { text: "0", held } },
      { what: "the same, s", values: seconds },
    ];
  }

  /** Processor time and memory for one large file. */
  async resources(): Promise<readonly Figure[]> {
    const { mebibytes, rounds } = this.#sizes;
    const peer = await bareSftp(this.#way(this.#server.port));
    const quarter = this.#here.join("quarter");
    await makeLarge(quarter, mebibytes / 4);
    const figures: Figure[] = [];
    const [peaks, least]: [number[], number[]] = [[], []];
    for (const direction of ["down", "up"] as const) {
      const [from, to] = this.#ends(direction, "large");
      const [own, beside]: [number[], number[]] = [[], []];
      for (let round = 0; round < rounds; round++) {
        const { cpuSeconds: cpu, peakMiB } = await this.#alone(direction, from, to);
        own.push((cpu * 1_024) / mebibytes);
        peaks.push(peakMiB);
        const before = cpuSeconds(process.pid, { ended: true }) - cpuSeconds(process.pid);
        await peer.move(direction, from, to);
        await digest(to);
        const after = cpuSeconds(process.pid, { ended: true }) - cpuSeconds(process.pid);
        beside.push(((after - before) * 1_024) / mebibytes);
        await rm(to);
      }
      figures.push({
        what: `processor seconds for a GiB ${direction}`,
        values: own,
        beside: { what: "sftp + one sha256sum", values: beside },
        goal: { text: "≤ 2 times it", held: median(own) <= 2 * median(beside) },
      });
    }
    for (let round = 0; round < rounds; round++) {
      const { peakMiB } = await this.#alone("up", quarter, this.#server.directory.join("moved"));
      least.push(peakMiB);
    }
    const held = Math.max(...peaks) <= 150 && median(peaks) - median(least) <= flatMiB;
    figures.push({
      what: "most memory of the process (RSS), MiB",
      values: peaks,
      beside: { what: "for a quarter of the file", values: least },
      goal: { text: `≤ 150 MiB, and ≤ ${flatMiB} MiB more than for the quarter`, held },
    });
    return figures;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
    await this.#here[Symbol.asyncDispose]();
  }

  #way(port: number): Way {
    return { server: this.#server, port, scratch: this.#here.path };
  }

  #ends(direction: Direction, name: string): readonly [string, string] {
    const far = this.#server.directory;
    return direction === "up" ? [this.#here.join(name), far.join("moved")] : [far.join(name), this.#here.join("moved")];
  }

  async #trees(way: Way, rows: Omit<Rows, "movers">): Promise<readonly Figure[]> {
    await using own = new OurMover(way, "directory");
    const movers = [own, await sftp(way, "-r "), await rsync(way, "-r"), await tar(way)];
    return await this.#rows({ ...rows, movers });
  }

  async #rows(rows: Rows): Promise<readonly Figure[]> {
    const figures: Figure[] = [];
    for (const direction of ["down", "up"] as const) {
      const seconds = await this.#measure(rows, direction);
      figures.push(...figuresOf(rows, direction, seconds));
    }
    return figures;
  }

  /** Seconds by mover. */
  async #measure({ movers, name }: Rows, direction: Direction): Promise<ReadonlyMap<string, readonly number[]>> {
    const seconds = new Map<string, number[]>(movers.map((mover) => [mover.name, []]));
    const [from, to] = this.#ends(direction, name);
    // An agent runs for months: threads, code and connection are there.
    await movers[0]?.move(direction, from, to);
    await rm(to, { recursive: true });
    for (let round = 0; round < this.#sizes.rounds; round++) {
      for (const mover of movers) {
        const startedAt = performance.now();
        await mover.move(direction, from, to);
        const took = (performance.now() - startedAt) / 1000;
        seconds.get(mover.name)?.push(took);
        this.#say(`${name} ${direction}, round ${round + 1}: ${mover.name} ${took.toFixed(2)} s`);
        await rm(to, { recursive: true });
      }
    }
    return seconds;
  }

  async #alone(direction: Direction, from: string, to: string): Promise<AloneFigures> {
    const settings = this.#server.settings();
    const task: AloneTask = { settings, directory: this.#server.directory.path, moves: [[direction, from, to]] };
    const script = join(repository, "bench", "lib", "mover-alone.ts");
    const { stdout } = await run(process.execPath, ["--max-semi-space-size=1", script, JSON.stringify(task)]);
    return JSON.parse(stdout) as AloneFigures;
  }
}

interface Rows {
  /** Ours first. */
  readonly movers: readonly Mover[];
  readonly name: string;
  readonly what: string;
  readonly amount: number;
  /** What is wanted of `sftp`, as times of its rate. */
  readonly slow: number;
  /** Whether the fastest of the others is to be reached, too; default true. */
  readonly others?: boolean;
}

/** The engine's rate beside each peer's. */
function figuresOf(
  { what, amount, slow, others = true }: Rows,
  direction: Direction,
  seconds: ReadonlyMap<string, readonly number[]>,
): readonly Figure[] {
  const unit = what.startsWith("one file") ? "MiB/s" : "files/s";
  const rates = [...seconds].map(([name, values]) => ({ name, values: values.map((value) => amount / value) }));
  const [own, ...peers] = rates;
  if (!own) return [];
  return peers.map((peer) => {
    const wanted = peer.name.startsWith("sftp") ? slow : 1;
    const figure: Figure = {
      what: `${what} ${direction}, ${unit}`,
      values: own.values,
      beside: { what: peer.name, values: peer.values },
    };
    if (!others && wanted === 1) return figure;
    const held = median(own.values) >= wanted * median(peer.values);
    return { ...figure, goal: { text: `≥ ${wanted} of it`, held } };
  });
}

async function makeLarge(path: string, mebibytes: number): Promise<void> {
  await using handle = await open(path, "w");
  const block = randomFillSync(Buffer.alloc(mebibyte));
  for (let written = 0; written < mebibytes; written++) {
    block.writeUInt32LE(written);
    await handle.write(block);
  }
}

async function makeSmall(path: string, files: number): Promise<void> {
  const content = randomFillSync(Buffer.alloc(smallBytes));
  for (let index = 0; index < files; index++) {
    const directory = `${path}/${index % 100}`;
    if (index < 100) await mkdir(directory, { recursive: true });
    content.writeUInt32LE(index);
    await writeFile(`${directory}/${index}`, content);
  }
}
