/** Files to and from a private OpenSSH server on loopback: the transfer engine over SFTP beside OpenSSH's own programs. */
import { execFile } from "node:child_process";
import { createHash, randomFillSync } from "node:crypto";
import { mkdir, open, rm, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { systemClock } from "../src/common/clock.ts";
import { silentLogger } from "../src/common/logger.ts";
import { newToken } from "../src/common/token.ts";
import { createTransferEngine } from "../src/transfer/engine.ts";
import { compilePolicy } from "../src/transfer/policy.ts";
import { TransferRegistry } from "../src/transfer/registry.ts";
import type { TransferItem } from "../src/transfer/types.ts";
import { sshd } from "../test/helpers/engines/sshd.ts";
import { sftpHarness, type SftpHarness } from "../test/integration/transfer/sftp-harness.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../test/helpers/temporary.ts";
import { type Bench, type Figure, median } from "./lib/bench.ts";

const run = promisify(execFile);
const mebibyte = 1024 * 1024;
const smallBytes = 4_096;
const filesAtOnce = 16;

type Direction = "up" | "down";

/** One way of moving, timed as a whole: seconds until the bytes are there and compared. */
interface Mover {
  readonly name: string;
  move(direction: Direction, from: string, to: string): Promise<void>;
}

export const bench: Bench = {
  about:
    "A private sshd on loopback. One file of 1 GiB, and 10,000 files of 4 KiB in 100 directories, up and down, until everything is at its place and compared by SHA-256: the engine does that by itself, peers run `sha256sum` on both ends at the same time afterwards. All in turn in the same round; the page cache is warm.",
  async run({ quick, say }) {
    const found = await sshd.probe();
    if (!found.ok) {
      say(`not measured: ${found.reason}`);
      return [];
    }
    const [rounds, mebibytes, files] = quick ? [1, 64, 500] : [3, 1_024, 10_000];
    await using far = await sftpHarness();
    await using here = await temporaryDirectory();
    await makeLarge(here.join("large"), mebibytes);
    await makeSmall(here.join("small"), files);
    await run("cp", ["-r", here.join("large"), here.join("small"), far.path("")]);
    const large = [ours(far, "file"), await sftp(far, here, ""), await scp(far, here)];
    const small = [ours(far, "directory"), await sftp(far, here, "-r "), await tar(far, here)];
    const figures: Figure[] = [];
    for (const direction of ["down", "up"] as const) {
      const speeds = await measure({ movers: large, name: "large", direction, rounds, far, here, say });
      figures.push(...figuresOf(`one file of ${mebibytes} MiB ${direction}, MiB/s`, speeds, mebibytes, 1));
      const rates = await measure({ movers: small, name: "small", direction, rounds, far, here, say });
      figures.push(...figuresOf(`${files} files of 4 KiB ${direction}, files/s`, rates, files, 3));
    }
    return figures;
  },
};

interface Measuring {
  readonly movers: readonly Mover[];
  readonly name: string;
  readonly direction: Direction;
  readonly rounds: number;
  readonly far: SftpHarness;
  readonly here: TemporaryDirectory;
  readonly say: (line: string) => void;
}

/** Seconds by mover. */
async function measure(measuring: Measuring): Promise<ReadonlyMap<string, readonly number[]>> {
  const { movers, name, direction, rounds, far, here, say } = measuring;
  const seconds = new Map<string, number[]>(movers.map((mover) => [mover.name, []]));
  const [from, to] = direction === "up" ? [here.join(name), far.path("moved")] : [far.path(name), here.join("moved")];
  for (let round = 0; round < rounds; round++) {
    for (const mover of movers) {
      const [startedAt, used] = [performance.now(), process.cpuUsage()];
      await mover.move(direction, from, to);
      const took = (performance.now() - startedAt) / 1000;
      seconds.get(mover.name)?.push(took);
      const { user, system } = process.cpuUsage(used);
      const own = mover.name === "siteagent" ? `, ${((user + system) / 1e6).toFixed(1)} s of processor` : "";
      say(`${name} ${direction}, round ${round + 1}: ${mover.name} ${took.toFixed(2)} s${own}`);
      await rm(to, { recursive: true });
    }
  }
  return seconds;
}

/** The engine's rate beside each peer's. `times`: what is wanted of the slow one; of the fastest its own rate. */
function figuresOf(
  what: string,
  seconds: ReadonlyMap<string, readonly number[]>,
  amount: number,
  times: number,
): readonly Figure[] {
  const rates = [...seconds].map(([name, values]) => ({ name, values: values.map((value) => amount / value) }));
  const [own, ...peers] = rates;
  if (!own) return [];
  return peers.map((peer) => {
    const wanted = peer.name.startsWith("sftp -r") ? times : 1;
    const held = median(own.values) >= wanted * median(peer.values);
    return {
      what,
      values: own.values,
      beside: { what: peer.name, values: peer.values },
      goal: { text: `≥ ${wanted} of it`, held },
    };
  });
}

function ours(far: SftpHarness, kind: "file" | "directory"): Mover {
  return {
    name: "siteagent",
    move: async (direction, from, to) => {
      const rules = [`sftp://far${far.path("")}/`];
      const policy = compilePolicy({ sources: rules, destinations: rules });
      await using engine = createTransferEngine({
        policy,
        registry: new TransferRegistry([far.adapter]),
        limits: () => ({ files: filesAtOnce }),
      });
      const [local, remote] = direction === "up" ? [from, to] : [to, from];
      const split = local.lastIndexOf("/");
      const [root, name] = [local.slice(0, split), local.slice(split + 1)];
      const common = { name: "data", kind, required: true, mode: "copy", include: [], exclude: [] } as const;
      const item: TransferItem =
        direction === "up"
          ? { ...common, source: name, target: `sftp://far${remote}${kind === "file" ? "" : "/"}` }
          : { ...common, source: `sftp://far${remote}`, target: name };
      await engine.run(
        {
          token: newToken(),
          direction: direction === "up" ? "out" : "in",
          root,
          items: [item],
          known: [],
          onFile: async () => {},
        },
        { signal: new AbortController().signal, log: silentLogger, clock: systemClock },
      );
    },
  };
}

async function sftp(far: SftpHarness, here: TemporaryDirectory, flag: "" | "-r "): Promise<Mover> {
  const options = await optionsOf(far, here);
  return {
    name: `sftp ${flag}+ sha256sum`,
    move: async (direction, from, to) => {
      const batch = here.join("batch");
      await writeFile(batch, `${direction === "up" ? "put" : "get"} ${flag}${from} ${to}\n`);
      await run("sftp", ["-q", ...options, "-P", String(far.server.port), "-b", batch, "127.0.0.1"]);
      await compare(from, to);
    },
  };
}

async function scp(far: SftpHarness, here: TemporaryDirectory): Promise<Mover> {
  const options = await optionsOf(far, here);
  return {
    name: "scp + sha256sum",
    move: async (direction, from, to) => {
      const [a, b] = direction === "up" ? [from, `127.0.0.1:${to}`] : [`127.0.0.1:${from}`, to];
      await run("scp", ["-q", ...options, "-P", String(far.server.port), a, b]);
      await compare(from, to);
    },
  };
}

async function tar(far: SftpHarness, here: TemporaryDirectory): Promise<Mover> {
  const ssh = `ssh ${(await optionsOf(far, here)).join(" ")} -p ${far.server.port} 127.0.0.1`;
  return {
    name: "tar through ssh + sha256sum",
    move: async (direction, from, to) => {
      await mkdir(to);
      const script =
        direction === "up"
          ? `tar -C ${from} -cf - . | ${ssh} tar -C ${to} -xf -`
          : `${ssh} tar -C ${from} -cf - . | tar -C ${to} -xf -`;
      await run("sh", ["-c", script]);
      await compare(from, to);
    },
  };
}

async function optionsOf(far: SftpHarness, here: TemporaryDirectory): Promise<readonly string[]> {
  const { user, key, knownHosts } = far.server.settings();
  const config = here.join("ssh_config");
  await writeFile(
    config,
    `User ${user ?? ""}\nIdentityFile ${key?.path ?? ""}\nUserKnownHostsFile ${knownHosts ?? ""}\nBatchMode yes\n`,
  );
  return ["-F", config];
}

/** What a careful person does after a copy: digests at both ends, at the same time. */
async function compare(from: string, to: string): Promise<void> {
  const digest = async (path: string): Promise<string> => {
    const script = 'cd "$0" 2>/dev/null || { sha256sum < "$0"; exit; }; find . -type f -exec sha256sum {} + | sort';
    const { stdout } = await run("sh", ["-c", script, path], { maxBuffer: 64 * mebibyte });
    return createHash("sha256").update(stdout).digest("hex");
  };
  const [a, b] = await Promise.all([digest(from), digest(to)]);
  if (a !== b) throw new Error(`'${to}' is not what '${from}' is`);
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
