/** What following many scheduler jobs costs: commands on the login node, and how long the agent's main loop is held up by their answers. */
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "../src/common/clock.ts";
import type { CallContext } from "../src/common/context.ts";
import { silentLogger } from "../src/common/logger.ts";
import { SchedulerQueue } from "../src/launchers/batch/queue.ts";
import type { Bench, Figure } from "./lib/bench.ts";
import { fakeQueue, kinds } from "./lib/fake-queues.ts";

const pollMs = 1_000;
const mostCommands = 2;
const longestTurn = 50;

export const bench: Bench = {
  about: `Jobs of each scheduler are asked for every 100 ms, as the agent does it; the scheduler's commands are programs that print a queue of so many running jobs and note each call. The shortest interval is ${pollMs / 1000} s here instead of 30 s; it grows while nothing changes. For each interval: commands, and the processor time of the longest turn of the main loop, which holds up whoever else wants it, in turn with an interval in which nothing is asked. The answer's time is that from the question until the state of all jobs is known.`,
  async run({ quick, say }) {
    const figures: Figure[] = [];
    for (const name of Object.keys(kinds)) {
      for (const count of quick ? [10, 1_000] : [10, 1_000, 10_000]) {
        figures.push(...(await follow(name, count, quick ? 3 : 20)));
        say(`${name}, ${count} jobs`);
      }
    }
    return figures;
  },
};

async function follow(name: string, count: number, intervals: number): Promise<readonly Figure[]> {
  const kind = kinds[name];
  if (!kind) throw new Error(`there is no scheduler '${name}'`);
  await using fake = await fakeQueue(kind, count);
  const context: CallContext = { signal: new AbortController().signal, log: silentLogger, clock: systemClock };
  await using queue = new SchedulerQueue({ scheduler: fake.scheduler, pollMs });
  const answers: number[] = [];
  for (let round = 0; round < Math.max(3, intervals / 4); round++) {
    const begun = performance.now();
    const statuses = await fake.scheduler.statuses(fake.jobs, context);
    answers.push(performance.now() - begun);
    if (!statuses.every(({ state }) => state === "running")) throw new Error("a job was not seen as running");
  }
  const [commands, turns, idle]: [number[], number[], number[]] = [[], [], []];
  for (let interval = 0; interval < intervals; interval++) {
    idle.push(await longestTurnMs(() => sleep(pollMs)));
    const before = (await fake.calls()).length;
    turns.push(
      await longestTurnMs(async () => {
        for (const end = performance.now() + pollMs; performance.now() < end; await sleep(100))
          await queue.statuses(fake.jobs, context);
      }),
    );
    commands.push((await fake.calls()).length - before);
  }
  const jobs = `${name}, ${count} jobs`;
  return [
    {
      what: `${jobs}: commands in an interval`,
      values: commands,
      goal: { text: `≤ ${mostCommands}`, held: Math.max(...commands) <= mostCommands },
    },
    {
      what: `${jobs}: longest turn of the main loop, ms`,
      values: turns,
      beside: { what: "without jobs", values: idle },
      goal: { text: `≤ ${longestTurn} ms`, held: Math.max(...turns) <= longestTurn },
    },
    { what: `${jobs}: question to answer, ms`, values: answers },
  ];
}

/** Processor time of this thread in one turn: what other programs do on the machine does not count. */
async function longestTurnMs(work: () => Promise<unknown>): Promise<number> {
  let longest = 0;
  let before = process.threadCpuUsage();
  let next = setImmediate(turn);
  function turn(): void {
    const { user, system } = process.threadCpuUsage(before);
    longest = Math.max(longest, (user + system) / 1_000);
    before = process.threadCpuUsage();
    next = setImmediate(turn);
  }
  await work();
  clearImmediate(next);
  return longest;
}
