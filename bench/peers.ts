/** The same no-op and 10 s jobs through siteagent, HyperQueue and Parsl on this machine, one after the other. */
import type { TestSite } from "../test/helpers/site.ts";
import type { Bench, BenchOptions, Figure } from "./lib/bench.ts";
import { runInBulk } from "./lib/bulk.ts";
import { folderVariable, Peer, type PeerName, peers } from "./lib/peers/peer.ts";
import { startRelease } from "./lib/release.ts";

const slots = 8;
const jobSeconds = 10;
const commands = { noop: ["/bin/true"], long: ["/bin/sleep", String(jobSeconds)] } as const;

/** What is measured of one system, in turn with the others. */
interface System {
  readonly name: string;
  readonly noop: number[];
  readonly utilisation: number[];
  run(what: keyof typeof commands, count: number): Promise<number>;
}

export const bench: Bench = {
  about: `The same commands through each, ${slots} at once, in turn in the same minutes: no-op jobs (\`/bin/true\`) from their submission in bulk until the last has ended, and jobs of \`sleep ${jobSeconds}\`, where utilisation is the time of the jobs by that of the slots. siteagent: hub (SQLite) and agent of the release build. HyperQueue: \`LocalCluster\`, one job of many tasks; its client looks once a second. Parsl: \`HighThroughputExecutor\` with \`LocalProvider\`, bash apps. Both with their own settings else, so without a journal or database. They are looked for by the \`python3\` of the folder that \`${folderVariable}\` names, else of \`PATH\` (\`pip install hyperqueue parsl\`).`,
  async run(options) {
    await using stack = new AsyncDisposableStack();
    const others: System[] = [];
    for (const name of Object.keys(peers) as PeerName[]) {
      const peer = await Peer.start(name, slots);
      if (typeof peer === "string") options.say(`${peers[name]} is not here: ${peer}`);
      else others.push(systemOf(`${peers[name]} ${peer.version}`, stack.use(peer)));
    }
    if (others.length === 0) return [];
    const site = stack.use(await startRelease({ slots, apps: { long: { command: [...commands.long] } } }));
    const ours = ourSystem(site);
    await measure([ours, ...others], options);
    const failed = await site.client.jobPage({ status: ["FAILED"], limit: 1 });
    if (failed.total > 0) throw new Error(`${failed.total} of our jobs failed`);
    return others.flatMap((other) => figuresOf(ours, other));
  },
};

function systemOf(name: string, peer: Peer): System {
  return { name, noop: [], utilisation: [], run: (what, count) => peer.run(count, commands[what]) };
}

function ourSystem(site: TestSite): System {
  return { name: "siteagent", noop: [], utilisation: [], run: (what, count) => runInBulk(site, what, count) };
}

async function measure(systems: readonly System[], { quick, say }: BenchOptions): Promise<void> {
  const jobs = quick ? 200 : 1_000;
  const longJobs = (quick ? 1 : 4) * slots;
  for (const system of systems) await system.run("noop", slots);
  for (let round = 1; round <= (quick ? 1 : 5); round++) {
    for (const system of systems) {
      system.noop.push(jobs / (await system.run("noop", jobs)));
      say(`round ${round}: ${system.name} ${system.noop.at(-1)?.toFixed(1)} no-op jobs/s`);
    }
  }
  for (let round = 1; round <= (quick ? 1 : 3); round++) {
    for (const system of systems) {
      const seconds = await system.run("long", longJobs);
      system.utilisation.push((longJobs * jobSeconds) / (slots * seconds));
      say(`round ${round}: ${system.name} utilisation ${system.utilisation.at(-1)?.toFixed(3)}`);
    }
  }
}

function figuresOf(ours: System, other: System): Figure[] {
  return [
    {
      what: "siteagent: no-op jobs, 1/s",
      values: ours.noop,
      beside: { what: other.name, values: other.noop },
    },
    {
      what: `siteagent: utilisation with jobs of ${jobSeconds} s`,
      values: ours.utilisation,
      beside: { what: other.name, values: other.utilisation },
    },
  ];
}
