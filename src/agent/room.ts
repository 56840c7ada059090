import { formatSize } from "../common/units.ts";
import type { AgentCore } from "./core.ts";

const periodMs = 30_000;

/** Is there room for another job? Looked at before anything is claimed, then now and then. */
export class Room {
  /** Why nothing is claimed; undefined = there is room. */
  problem: string | undefined;

  async look(core: AgentCore): Promise<void> {
    this.problem = await shortage(core);
    if (this.problem === undefined) core.problems.clear("space");
    else core.problems.set("space", this.problem, "free some space; claims begin again by themselves");
    if (core.ledger.journal.health === "no-space") {
      const what = "the disk of the journal is full: only ends and acknowledgements are written";
      core.problems.set("journal", what, "free some space");
    } else core.problems.clear("journal");
  }

  /** Until the agent stops. */
  async watch(core: AgentCore): Promise<void> {
    while (!core.stopping.aborted) {
      await core.clock.sleep(periodMs, core.stopping);
      await this.look(core);
    }
  }
}

async function shortage(core: AgentCore): Promise<string | undefined> {
  const { minFreeSpaceBytes: least, stateDir } = core.parts.site.agent;
  for (const directory of new Set([stateDir, ...[...core.parts.hosts.values()].map((host) => host.workdir)])) {
    const free = await core.machine.freeBytes(directory);
    if (free !== undefined && free < least) {
      return `'${directory}' has ${formatSize(free)} free, less than agent.min_free_space (${formatSize(least)})`;
    }
  }
  return undefined;
}
