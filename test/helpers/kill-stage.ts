import { Control } from "../integration/agent/control.ts";
import type { KillCase } from "./kill-cases.ts";
import { type Dialect, furnish, killApps, scenarios, type Stage } from "./kill-scenarios.ts";
import { TestSite } from "./site.ts";
import { waitFor } from "./wait.ts";

/** How long a case may take to pass its point. */
const reachMs = 60_000;

/**
 * A site on which kill cases run one after the other, each from and to rest. After a case that failed the next one gets a new
 * site: whatever went wrong is not its fault.
 */
export class KillStage implements AsyncDisposable {
  readonly #dialect: Dialect;
  #site: TestSite | undefined;

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

  async #newSite(): Promise<TestSite> {
    const site = await TestSite.start({ apps: killApps, dialect: this.#dialect, armable: true, slots: 8 });
    try {
      await furnish(site);
      await site.startAgent();
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
    await stage.control.until("everything reported", isQuiet);
    const wrong = await site.imbalances(ids);
    if (wrong.length > 0) throw new Error(wrong.join("\n"));
    const most = one.scenario === "drained" ? 2 : scenario.attempts;
    const started = (await site.starts()).size - before;
    if (started > most) throw new Error(`${started} attempts were started, not ${most}`);
  }
}

export function nameOf({ victim, point, dialect, scenario }: KillCase): string {
  return `${victim} at ${point} (${dialect}, ${scenario})`;
}

/** Waits until the victim has died at the point, and starts it again. */
async function dies(site: TestSite, { victim, point }: KillCase): Promise<void> {
  await waitFor(() => site.reached(point), {
    what: `a passage of ${point}: the case does not reach it`,
    timeoutMs: reachMs,
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
