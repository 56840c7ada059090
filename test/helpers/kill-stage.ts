import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Control } from "../integration/agent/control.ts";
import type { KillCase } from "./kill-cases.ts";
import { type Dialect, furnish, killApps, scenarios, type Stage, submit } from "./kill-scenarios.ts";
import { TestSite } from "./site.ts";
import { waitFor } from "./wait.ts";

/** How long a case may take to pass its point; a slow one waits for the end of a lease of 90 s. */
const reachMs = ({ slow }: KillCase): number => (slow === true ? 180_000 : 60_000);

/**
 * A site on which kill cases run one after the other, each from and to rest. After a case that failed the next one gets a new
 * site: whatever went wrong is not its fault.
 */
export class KillStage implements AsyncDisposable {
  readonly #dialect: Dialect;
  #site: TestSite | undefined;
  /** What no case may touch: see `bystanders`. */
  #before = new Map<string, string>();

  constructor(dialect: Dialect) {
    this.#dialect = dialect;
  }

  /** @throws Error with what is wrong when the point was not passed, the job did not end as it must, or the books do not balance. */
  async run(one: KillCase): Promise<void> {
    const site = (this.#site ??= await this.#newSite());
    try {
      await this.#play(site, one);
    } catch (error) {
      this.#site = undefined;
      const told = { log: site.agent?.stdout.slice(-6_000), hub: site.hub.stderr.slice(-2_000) };
      await site[Symbol.asyncDispose]();
      throw new Error(
        `${nameOf(one)}: ${error instanceof Error ? error.message : String(error)}\n${told.log}\n${told.hub}`,
        {
          cause: error,
        },
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#site?.[Symbol.asyncDispose]();
  }

  async #touched(): Promise<readonly string[]> {
    const wrong: string[] = [];
    for (const [path, content] of this.#before) {
      const now = await readFile(path, "latin1").catch(() => undefined);
      if (now !== content) wrong.push(`'${path}', which is not the job's, was changed or removed`);
    }
    return wrong;
  }

  async #newSite(): Promise<TestSite> {
    const site = await TestSite.start({ apps: killApps, dialect: this.#dialect, armable: true, slots: 8 });
    try {
      await furnish(site);
      await site.startAgent();
      const stage: Stage = { site, dialect: this.#dialect, control: new Control(site) };
      const id = await submit(stage, "work");
      await stage.control.untilJob("a bystander", id, (job) => job.ended_at !== null && job.unsent === 0, 60_000);
      // The first look at the books is also the measure of what the site's processes hold at rest.
      const wrong = await site.imbalances([id]);
      if (wrong.length > 0) throw new Error(wrong.join("\n"));
      this.#before = await bystanders(site);
      return site;
    } catch (error) {
      await site[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #play(site: TestSite, one: KillCase): Promise<void> {
    const stage: Stage = { site, dialect: this.#dialect, control: new Control(site) };
    const scenario = scenarios[one.scenario];
    const before = (await site.starts()).size;
    const armed = Promise.withResolvers<void>();
    const death = armed.promise.then(() => dies(site, one));
    death.catch(() => {}); // told below, after what it made fail
    const ids = await scenario.provoke(stage, async () => {
      await site.arm(one.point, one.victim === "all" ? "hang" : "kill");
      armed.resolve();
    });
    await death;
    await scenario.finish?.(stage, ids);
    for (const id of ids) {
      const { status } = await site.ended(id, 60_000);
      if (status !== scenario.status) throw new Error(`job ${id} ended as ${status}, not ${scenario.status}`);
    }
    const isQuiet = ({ outbox, mode }: { outbox: { unsent: number }; mode: string }): boolean =>
      outbox.unsent === 0 && mode === "running";
    await stage.control.until("everything reported", isQuiet, 60_000);
    const wrong = [...(await site.imbalances(ids)), ...(await this.#touched())];
    if (wrong.length > 0) throw new Error(wrong.join("\n"));
    const most = one.scenario === "drained" ? 2 : scenario.attempts;
    const started = (await site.starts()).size - before;
    if (started > most) throw new Error(`${started} attempts were started, not ${most}`);
  }
}

/** The files that are there before the first case: inputs, and all of a job that has ended and is kept. */
async function bystanders(site: TestSite): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const folder of ["inputs", "work", "delivered"]) {
    const entries = await readdir(join(site.root, folder), { recursive: true, withFileTypes: true });
    for (const entry of entries.filter((one) => one.isFile())) {
      const path = join(entry.parentPath, entry.name);
      files.set(path, await readFile(path, "latin1"));
    }
  }
  return files;
}

export function nameOf({ victim, point, dialect, scenario }: KillCase): string {
  return `${victim} at ${point} (${dialect}, ${scenario})`;
}

/** Waits until the victim has died at the point, and starts it again. */
async function dies(site: TestSite, one: KillCase): Promise<void> {
  const { victim, point } = one;
  await waitFor(() => site.reached(point), {
    what: `a passage of ${point}: the case does not reach it`,
    timeoutMs: reachMs(one),
  });
  switch (victim) {
    case "agent":
      await site.agent?.finished;
      break;
    case "hub":
      await site.hub.finished;
      await site.restartHub();
      return;
    case "runner":
      return; // the agent starts another one
    case "all":
      site.tryKillRunner();
      await Promise.all([site.killAgent(), site.killHub()]);
      await site.restartHub();
      break;
  }
  await site.startAgent({ wait: false });
}
