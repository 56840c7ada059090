import { isFinalStatus } from "../jobs/status.ts";
import { shellQuoted } from "../common/shell.ts";
import { unclaimed } from "./unclaimed.ts";
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
export function explain(row: JobRow, around: Surroundings, now: number): Explanation {
  const base = {
    id: row.id,
    status: row.status,
    since: row.hold?.since ?? row.updatedAt,
    tries: row.hold?.tries ?? 0,
    next_try_at: row.hold?.next_try_at ?? null,
  };
  return { ...base, ...reasonOf(row, around, now) };
}

export interface Reason {
  readonly why: string;
  readonly facts: readonly string[];
  readonly do: readonly string[];
}

function reasonOf(row: JobRow, around: Surroundings, now: number): Reason {
  if (isFinalStatus(row.status)) return ended(row);
  if (row.hold) return held(row, row.hold);
  if (row.lostContact) {
    return {
      why: `Site '${row.place}' holds it and has not been heard of for a while. Its processes may well go on: they do not need the hub.`,
      facts: [],
      do: [`look at the machine of site '${row.place}': siteagent status`],
    };
  }
  if (row.state === "AWAITING_PARENTS") return waitsForParents(around);
  if (row.waiting !== null) return { why: sentence(row.waiting), facts: [], do: [] };
  if (row.place === "" && (row.state === "READY" || row.state === "CREATED")) {
    return unclaimed(row.workflow, around, now);
  }
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
  const hint = row.failure?.hint;
  return {
    why: row.failure
      ? `It has ended: ${row.status}: ${row.failure.message}`
      : `It has ended: ${row.status}; nobody gave a reason.`,
    facts: [
      ...(row.failure ? [`kind: ${row.failure.code}, a matter of the ${whose[row.failure.category]}`] : []),
      ...(hint === undefined ? [] : [hint]),
    ],
    do: afterTheEnd(row),
  };
}

function afterTheEnd(row: JobRow): readonly string[] {
  if (row.attempt > 0) return [`what it wrote: siteagent logs ${row.id}`, `try again: siteagent retry ${row.id}`];
  if (row.failure?.category !== "user") return [`try again: siteagent retry ${row.id}`];
  // The same request would be refused again.
  return [
    `what the workflow takes: siteagent submit --help ${shellQuoted(row.workflow)}`,
    `make it anew with other values: siteagent resubmit ${row.id} --edit`,
  ];
}

const whose = { user: "job itself", site: "site", service: "service" } as const;

/** Tries after which it is worth a look although the next one comes by itself. */
const manyTries = 5;

function held(row: JobRow, hold: NonNullable<JobRow["hold"]>): Reason {
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
  const tries = hold.tries === undefined ? [] : [hold.tries === 1 ? "1 try so far" : `${hold.tries} tries so far`];
  if (hold.next_try_at === undefined) {
    return {
      why: `It is held back until somebody decides: ${hold.reason}`,
      facts: tries,
      do: [
        `end it: siteagent cancel ${row.id}`,
        `and, when the cause is gone, make it anew: siteagent retry ${row.id}`,
      ],
    };
  }
  const where = row.place === "" ? "its machine" : `the machine of '${row.place}'`;
  return {
    why: `It cannot go on: ${hold.reason}`,
    facts: tries,
    do: (hold.tries ?? 0) < manyTries ? [] : [`remove the cause; on ${where}: siteagent doctor`],
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

function moving(row: JobRow): Reason {
  const at = row.place === "" ? "" : ` at '${row.place}'`;
  if (row.phase === "suspended") {
    return {
      why: `Its attempt${at} was stopped by a signal (SIGSTOP) or suspended by its scheduler.`,
      facts: [],
      do: ["let it go on there: `kill -CONT`, or by the scheduler"],
    };
  }
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
