import { sleepUnless } from "../common/clock.ts";
import { asFault } from "../common/fault.ts";
import { formatSize } from "../common/units.ts";
import type { Journal } from "../journal/types.ts";
import type { AgentCore } from "./core.ts";

const periodMs = 30_000;
/** How long the start waits for file systems that do not answer. */
const longestFirstMs = 5_000;
/** Inodes below which nothing is claimed: what some jobs need for their directories and records. */
const leastFiles = 1_000;

const hanging = "a file system of the site does not answer";

/** What is shown while the journal cannot be written as usual, and what helps. */
const journalProblems: Partial<Record<Journal["health"], readonly [what: string, hint: string]>> = {
  "no-space": ["the disk of the journal is full: only ends and acknowledgements are written", "free some space"],
  "no-quota": [
    "the quota of the journal is used up: only ends and acknowledgements are written",
    "free some space or raise the quota",
  ],
  stalled: [
    "the disk of the journal does not answer: nothing is begun and nothing is told until it does",
    "look at the file system of the state directory; a restart of the agent does not help",
  ],
};

/** Is there room for another job? Looked at before anything is claimed, then now and then. */
export class Room {
  /** Why nothing is claimed; undefined = there is room. */
  problem: string | undefined;
  #looking: Promise<void> | undefined;

  /** Ends when the file systems have answered, or after 5 s. */
  async look(core: AgentCore): Promise<void> {
    lookAtJournal(core);
    await sleepUnless(core.clock, longestFirstMs, this.#lookAtSpace(core), core.stopping);
    if (this.#looking) this.#tell(core, hanging);
  }

  /** Until the agent stops. */
  async watch(core: AgentCore): Promise<void> {
    while (!core.stopping.aborted) {
      await core.clock.sleep(periodMs, core.stopping);
      lookAtJournal(core);
      // A file system that hangs is asked once, not again and again.
      if (this.#looking) this.#tell(core, hanging);
      else void this.#lookAtSpace(core);
    }
  }

  #lookAtSpace(core: AgentCore): Promise<void> {
    this.#looking = lookAtCache(core)
      .then(() => shortage(core))
      .then(
        (problem) => this.#tell(core, problem),
        (error: unknown) => this.#tell(core, `the free space cannot be found out: ${asFault(error).message}`),
      )
      .finally(() => {
        this.#looking = undefined;
      });
    return this.#looking;
  }

  #tell(core: AgentCore, problem: string | undefined): void {
    this.problem = problem;
    if (problem === undefined) core.problems.clear("space");
    else core.problems.set("space", problem, "free some space or repair it; claims begin again by themselves");
  }
}

function lookAtJournal(core: AgentCore): void {
  const problem = journalProblems[core.ledger.journal.health];
  if (problem === undefined) core.problems.clear("journal");
  else core.problems.set("journal", ...problem);
}

/** Before anything is held back for want of space, inputs that are kept for later jobs give way. */
async function lookAtCache(core: AgentCore): Promise<void> {
  const { cache } = core.parts;
  await cache?.makeRoom(core.context());
  const problem = cache?.view().problem;
  if (problem === undefined) core.problems.clear("cache");
  else core.problems.set("cache", problem, "jobs go on without it; siteagent doctor tells more");
}

async function shortage(core: AgentCore): Promise<string | undefined> {
  const { minFreeSpaceBytes: least, stateDir } = core.parts.site.agent;
  for (const directory of new Set([stateDir, ...core.workdirsHere])) {
    const free = await core.machine.freeRoom(directory);
    if (free === undefined) continue;
    if (free.bytes < least) {
      return `'${directory}' has ${formatSize(free.bytes)} free, less than agent.min_free_space (${formatSize(least)})`;
    }
    if (free.files !== undefined && free.files < leastFiles) {
      return `'${directory}' has ${free.files} free inodes, fewer than ${leastFiles}: its bytes do not help`;
    }
  }
  return undefined;
}
