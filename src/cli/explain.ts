import { isFinalStatus } from "../jobs/status.ts";
import type { JobRow, Surroundings } from "./backend/types.ts";

/** Why a job is where it is, in words. The fields are stable: `-o json` prints them. */
export interface Explanation {
  readonly id: string;
  readonly status: string;
  /** One sentence. */
  readonly why: string;
  /** ISO 8601. */
  readonly since: string;
  /** Failed tries so far. */
  readonly tries: number;
  /** ISO 8601; null when nothing is planned. */
  readonly next_try_at: string | null;
  readonly facts: readonly string[];
  /** What a person should do; empty = nothing. */
  readonly do: readonly string[];
}

/** Pure: what is known of the job and around it, turned into sentences. */
export function explain(row: JobRow, around: Surroundings): Explanation {
  const base = {
    id: row.id,
    status: row.status,
    since: row.hold?.since ?? row.updatedAt,
    tries: row.hold?.tries ?? 0,
    next_try_at: row.hold?.next_try_at ?? null,
  };
  return { ...base, ...reasonOf(row, around) };
}

interface Reason {
  readonly why: string;
  readonly facts: readonly string[];
  readonly do: readonly string[];
}

function reasonOf(row: JobRow, around: Surroundings): Reason {
  if (isFinalStatus(row.status)) return ended(row);
  if (row.hold) return held(row.hold);
  if (row.lostContact) {
    return {
      why: `Site '${row.place}' holds it and has not been heard of for a while. Its processes may well go on: they do not need the hub.`,
      facts: [],
      do: [`look at the machine of site '${row.place}': siteagent status`],
    };
  }
  if (row.state === "AWAITING_PARENTS") return waitsForParents(around);
  if (row.waiting !== null) return { why: sentence(row.waiting), facts: [], do: [] };
  if (row.place === "" && (row.state === "READY" || row.state === "CREATED")) return unclaimed(row, around);
  return moving(row);
}

function ended(row: JobRow): Reason {
  if (row.status === "FINISHED") {
    return {
      why: "It does not wait: it has finished.",
      facts: [],
      do: [`see its results: siteagent outputs ls ${row.id}`],
    };
  }
  const message = row.failure?.message ?? "no reason is known";
  const hint = row.failure?.hint;
  return {
    why: `It has ended: ${row.status}: ${message}`,
    facts: [
      ...(row.failure ? [`kind: ${row.failure.code}, a matter of the ${whose[row.failure.category]}`] : []),
      ...(hint === undefined ? [] : [hint]),
    ],
    do: [`what it wrote: siteagent logs ${row.id}`, `try again: siteagent retry ${row.id}`],
  };
}

const whose = { user: "job itself", site: "site", service: "service" } as const;

function held(hold: NonNullable<JobRow["hold"]>): Reason {
  const by = hold.by === undefined || hold.by === "" ? "" : ` by ${hold.by}`;
  if (hold.kind === "cancelling") {
    return {
      why: `It is being cancelled${by}${hold.reason === "" ? "" : ` (${hold.reason})`}; it counts as CANCELLED once its processes are proven gone.`,
      facts: [],
      do: [],
    };
  }
  if (hold.kind === "paused") {
    return {
      why: `It is paused${by}: ${hold.reason || "no reason given"}.`,
      facts: [],
      do: ["resume it when the reason is gone"],
    };
  }
  const again = hold.next_try_at !== undefined;
  const tries = hold.tries === undefined ? [] : [`${hold.tries} tries so far`];
  return {
    why: `It cannot go on: ${hold.reason}`,
    facts: tries,
    do: again ? [] : ["remove the cause; it goes on by itself"],
  };
}

function waitsForParents(around: Surroundings): Reason {
  const open = around.parents.filter((parent) => !isFinalStatus(parent.status as JobRow["status"]));
  const names = open.map((parent) => `${parent.id} (${parent.status})`);
  return {
    why: open.length === 1 ? `It waits for its parent ${names[0] ?? ""}.` : `It waits for ${open.length} parents.`,
    facts: open.length > 1 ? names : [],
    do: open.map((parent) => `siteagent explain ${parent.id}`).slice(0, 3),
  };
}

function unclaimed(row: JobRow, around: Surroundings): Reason {
  const { sites } = around;
  if (sites === undefined) return { why: "It waits for a site that claims it.", facts: [], do: [] };
  if (sites.length === 0) {
    return {
      why: `No site has offered to run workflow '${row.workflow}'.`,
      facts: [],
      do: [`register an app for '${row.workflow}' in a site file, or check the name of the workflow`],
    };
  }
  const able = sites.filter((site) => !site.lostContact && site.state === "running");
  const facts = sites.map((site) => {
    const state = site.lostContact ? "not heard of" : site.state;
    return `site '${site.id}': ${state}, holds ${site.held === 1 ? "1 job" : `${site.held} jobs`}`;
  });
  if (able.length > 0) return { why: "It waits for a free slot; a site will claim it.", facts, do: [] };
  return {
    why: "Every site that serves its workflow is away, paused or draining.",
    facts,
    do: ["on a site's machine: siteagent status"],
  };
}

function moving(row: JobRow): Reason {
  const at = row.place === "" ? "" : ` at '${row.place}'`;
  const words: Partial<Record<JobRow["status"], string>> = {
    PENDING: "It is about to start",
    PROCESSING_INPUTS: "It does not wait: a site has claimed it and prepares it",
    STAGING_INPUTS: "It does not wait: its inputs are being moved",
    STAGING_JOB: "It does not wait: its next attempt is being prepared",
    SUBMITTING_JOB: "It does not wait: it is being handed to the launcher",
    QUEUED: "It is in the queue of the launcher or scheduler",
    RUNNING: "It does not wait: it runs",
    ARCHIVING: "It does not wait: its outputs are being delivered",
  };
  const attempt = row.attempt > 1 ? [`attempt ${row.attempt}`] : [];
  return { why: `${words[row.status] ?? `It is ${row.status}`}${at}.`, facts: attempt, do: [] };
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}
