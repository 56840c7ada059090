import { watch } from "chokidar";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { asFault, type Fault } from "../common/fault.ts";
import type { AgentCore } from "./core.ts";
import type { SiteParts } from "./deps.ts";

const settleMs = 300;

/**
 * Takes a changed site file: read, checked and built whole before anything is swapped; a bad one changes nothing and is shown
 * until it is mended. Running jobs keep the app they were claimed with.
 */
export class Reloader {
  readonly #core: AgentCore;
  readonly #load: () => Promise<SiteParts>;
  /** What the process began with: some of it stays in use until it ends. */
  readonly #began: SiteParts["site"];
  /** ISO 8601. */
  loadedAt: string;
  problem: string | undefined;
  #reloading: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(core: AgentCore, load: () => Promise<SiteParts>, loadedAt: string) {
    this.#core = core;
    this.#load = load;
    this.#began = core.parts.site;
    this.loadedAt = loadedAt;
  }

  /** The agent started with a broken file, on the last good copy: shown until a reload succeeds. */
  startedWithout(broken: Fault): void {
    this.#refused(broken, "the site file is broken; jobs are followed with the last good copy, nothing is claimed");
  }

  #refused(fault: Fault, what: string): void {
    this.problem = fault.message;
    const { file } = this.#core.parts.site;
    this.#core.problems.set("config", `${what}: ${fault.message}`, `mend '${file}', then siteagent reload`);
  }

  /** @throws Fault CONFIG with every problem; the old configuration stays. */
  async reload(): Promise<void> {
    // One that is under way may have read the file before it was changed: another one follows it, for all who ask meanwhile.
    const running = this.#reloading;
    if (running) {
      this.#next ??= running.then(
        () => this.#begin(),
        () => this.#begin(),
      );
      return await this.#next;
    }
    await this.#begin();
  }

  async #begin(): Promise<void> {
    this.#next = undefined;
    this.#reloading = this.#reload().finally(() => {
      this.#reloading = undefined;
    });
    await this.#reloading;
  }

  /** Watches the folder of the file (a renamed or linked file is seen as well); on network file systems only the command and HUP work. */
  watch(): AsyncDisposable {
    const { file } = this.#core.parts.site;
    let seen = "";
    const watcher = watch(dirname(file), {
      depth: 0,
      ignoreInitial: true,
      awaitWriteFinish: { stabilityThreshold: settleMs, pollInterval: 50 },
    });
    const look = async (): Promise<void> => {
      const digest = createHash("sha256")
        .update(await readFile(file))
        .digest("hex");
      if (digest === seen) return;
      seen = digest;
      await this.reload();
    };
    const onChange = (): void => {
      look().catch((error: unknown) =>
        this.#core.log.error({ err: asFault(error) }, "the changed site file was not taken"),
      );
    };
    readFile(file).then(
      (content) => {
        seen = createHash("sha256").update(content).digest("hex");
      },
      () => undefined,
    );
    watcher.on("all", onChange);
    watcher.on("error", (error) =>
      this.#core.log.warn({ err: asFault(error) }, "the site file cannot be watched; use reload"),
    );
    return {
      async [Symbol.asyncDispose]() {
        await watcher.close();
      },
    };
  }

  async #reload(): Promise<void> {
    const before = this.#core.parts.site;
    let next: SiteParts;
    try {
      next = await this.#load();
    } catch (error) {
      const fault = asFault(error);
      this.#refused(fault, "the changed site file is not used");
      throw fault;
    }
    this.problem = undefined;
    this.#core.problems.clear("config");
    this.loadedAt = new Date(this.#core.clock.now()).toISOString();
    const kept = restartNeeded(this.#began, next.site);
    if (kept.length > 0)
      this.#core.problems.set(
        "restart",
        `changed settings need a restart: ${kept.join(", ")}`,
        "systemctl restart siteagent (jobs go on)",
      );
    else this.#core.problems.clear("restart");
    this.#core.log.info({ before: before.digest, after: next.site.digest }, "site file loaded");
    this.#core.replaceParts(next);
  }
}

/** Settings that a process cannot change while it runs, as far as they differ. */
function restartNeeded(began: SiteParts["site"], next: SiteParts["site"]): readonly string[] {
  const needed = [];
  if (next.id !== began.id) needed.push("site");
  if (JSON.stringify(next.api) !== JSON.stringify(began.api)) needed.push("api");
  if (next.agent.stateDir !== began.agent.stateDir || next.agent.runtimeDir !== began.agent.runtimeDir)
    needed.push("agent.state_dir, agent.runtime_dir");
  return needed;
}
