import type { StatusView } from "../wire/control-api.ts";
import type { AgentCore } from "./core.ts";
import type { ModeSwitch } from "./mode.ts";
import type { Reloader } from "./reload.ts";
import { usageOf } from "./slots.ts";
import { localJob, nextActions, oldestUnsent } from "./views.ts";

export interface StatusSources {
  readonly core: AgentCore;
  readonly mode: ModeSwitch;
  readonly reloader: Reloader;
  readonly contact: {
    readonly reachable: boolean;
    readonly since: string;
    readonly lastError: string | undefined;
    readonly lastSyncAt: string | undefined;
    readonly nextSyncAt: string | undefined;
  };
  readonly startedAt: string;
  readonly version: string;
  readonly log: readonly string[];
}

/** Everything that `siteagent status` shows, at one moment; from the book, so it works while central is away. */
export function statusView(sources: StatusSources): StatusView {
  const { core, mode, reloader, contact, startedAt, version, log } = sources;
  const { site } = core.parts;
  const { change } = mode;
  const outbox = [...core.ledger.book.outbox.values()].flat();
  const open = core.jobs.filter((job) => job.ended_at === undefined);
  return {
    site: site.id,
    version,
    mode: mode.current,
    mode_reason: change && change.mode !== "running" ? change.reason : null,
    mode_by: change && change.mode !== "running" ? change.by : null,
    mode_until: change?.until ?? null,
    since: startedAt,
    pid: process.pid,
    problems: core.problems.list().map((problem) => ({ ...problem })),
    api: {
      url: site.api.url,
      dialect: core.central.dialect,
      reachable: contact.reachable,
      since: contact.since,
      last_sync_at: contact.lastSyncAt ?? null,
      next_sync_at: contact.nextSyncAt ?? null,
      last_error: contact.lastError ?? null,
    },
    jobs: core.jobs.map((job) => localJob(core, job)),
    targets: Object.values(site.targets).map((target) => ({
      name: target.name,
      launcher: target.launcher,
      slots: target.slots,
      used: usageOf(core.jobs, target.name).running,
      tier: core.launcher(target.name)?.capabilities.tier ?? "unknown",
      problem: core.problems.find(`target:${target.name}`)?.what ?? null,
    })),
    apps: Object.values(site.apps).map((app) => ({
      name: app.name,
      workflow: app.workflow,
      target: app.target,
      running: open.filter((job) => job.app.name === app.name).length,
    })),
    outbox: {
      unsent: outbox.filter((entry) => entry.parked === undefined).length,
      oldest_at: oldestUnsent(core),
      parked: outbox.filter((entry) => entry.parked !== undefined).length,
    },
    journal: {
      health: core.ledger.journal.health,
      bytes: core.ledger.journal.size.bytes,
      records: core.ledger.journal.size.records,
      last_sync_ms: core.ledger.journal.syncMs.last,
    },
    cache: cacheView(core),
    config: { file: site.file, digest: site.digest, loaded_at: reloader.loadedAt, problem: reloader.problem ?? null },
    next: nextActions(core, mode.current, contact.nextSyncAt),
    log: [...log],
  };
}

function cacheView({ parts }: AgentCore): StatusView["cache"] {
  const view = parts.cache?.view();
  if (!view) return null;
  return {
    directory: view.directory,
    bytes: view.bytes ?? null,
    files: view.files ?? null,
    max_bytes: view.maxBytes,
    hits: view.hits,
    misses: view.misses,
    saved_bytes: view.savedBytes,
    evicted: view.evicted,
    spoilt: view.spoilt,
  };
}
