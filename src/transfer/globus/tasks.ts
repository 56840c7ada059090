/** Transfer tasks: submitted once, followed to their end, cancelled. docs.globus.org/api/transfer: task_submit, task. */
import { z } from "zod";
import { isoTime } from "../../common/clock.ts";
import type { CallContext } from "../../common/context.ts";
import type { TransferContext } from "../types.ts";
import { asFault, Fault, isFault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { syncBackoff, waitAfterMs } from "../../common/retry.ts";
import type { Token } from "../../common/token.ts";
import { isMissing, needsPerson, throwIfStopped } from "../errors.ts";
import type { TransferApi } from "./client.ts";
import { loginFault } from "./faults.ts";
import type { Note, NotedFile, Notes } from "./notes.ts";
import type { GlobusPace, GlobusSettings } from "./types.ts";

/** Looks that fail in a row before the call ends; the task goes on, and the next call finds it. */
const mostLost = 6;
/** So long a cancel may take. */
const cancelMs = 30_000;

const submissionSchema = z.object({ value: z.string().min(1).max(200) });
const resultSchema = z.object({ code: z.string(), task_id: z.string().min(1).max(200) });
const taskSchema = z.object({
  status: z.enum(["ACTIVE", "INACTIVE", "SUCCEEDED", "FAILED"]),
  is_paused: z.boolean().nullish(),
  nice_status: z.string().nullish(),
  nice_status_short_description: z.string().nullish(),
  nice_status_details: z.string().nullish(),
  fatal_error: z.object({ code: z.string().nullish(), description: z.string().nullish() }).nullish(),
  faults: z.number().nullish(),
  bytes_transferred: z.number().nullish(),
  files_transferred: z.number().nullish(),
});
export type TaskState = z.output<typeof taskSchema>;
const doneSchema = z.object({
  DATA: z.array(z.object({ source_path: z.string(), destination_path: z.string() })),
  next_marker: z.number().nullish(),
});
const eventsSchema = z.object({
  DATA: z.array(z.object({ code: z.string(), description: z.string().nullish(), details: z.string().nullish() })),
});

/** What goes from where to where. */
export interface Submission {
  readonly token: Token;
  readonly scope: string;
  readonly direction: "in" | "out";
  readonly source: string;
  readonly destination: string;
  readonly files: readonly NotedFile[];
}

export class Tasks {
  readonly #api: TransferApi;
  readonly #notes: Notes;
  readonly #settings: GlobusSettings;
  readonly #pace: GlobusPace;

  constructor(api: TransferApi, notes: Notes, settings: GlobusSettings, pace: GlobusPace) {
    this.#api = api;
    this.#notes = notes;
    this.#settings = settings;
    this.#pace = pace;
  }

  /** Noted, and submitted. A refusal leaves no note; an answer that did not come leaves one, for the next call. */
  async submit(order: Submission, context: CallContext): Promise<Note & { readonly task: string }> {
    const what = "a submission to Globus";
    const { value: submission } = await this.#api.call(
      { method: "GET", path: "/submission_id", schema: submissionSchema, what },
      context,
    );
    const body = this.#document(order, submission, context.clock.now());
    const { token, scope } = order;
    const note: Note = { version: 1, token, scope, abandoned: false, submission, body, files: [...order.files] };
    await this.#notes.put(note);
    return await this.resubmit(note, context);
  }

  /** The same submission again, if its task is not known: Globus names the task that it made of the first. */
  async resubmit(note: Note, context: CallContext): Promise<Note & { readonly task: string }> {
    if (note.task !== undefined) return { ...note, task: note.task };
    const what = `a submission to Globus of ${note.files.length === 1 ? "1 file" : `${note.files.length} files`}`;
    const call = { method: "POST", path: "/transfer", body: note.body, schema: resultSchema, what } as const;
    try {
      const { task_id: task, code } = await this.#api.call(call, context);
      context.log.info({ task, code, files: note.files.length }, "a transfer was submitted to Globus");
      const named = { ...note, task };
      await this.#notes.put(named);
      return named;
    } catch (error) {
      if (isFault(error, "TRANSFER_REFUSED")) await this.#notes.drop(note);
      throw error;
    }
  }

  /** Waits for the end. @throws Fault for a task that waits for a person, and when the service does not answer for long. */
  async follow(task: string, context: TransferContext): Promise<TaskState> {
    let lost = 0;
    let moved = 0;
    let said = "";
    for (let waitMs = this.#pace.firstMs; ; waitMs = Math.min(waitMs * 1.5, this.#pace.longestMs)) {
      throwIfStopped(context.signal);
      try {
        const state = await this.state(task, context);
        lost = 0;
        if (state.status === "SUCCEEDED" || state.status === "FAILED") return state;
        if (state.status === "INACTIVE") throw inactive(task, state);
        const bytes = state.bytes_transferred ?? 0;
        if (bytes > moved) context.elsewhere?.(bytes - moved);
        moved = Math.max(moved, bytes);
        const now = wordsOf(state);
        if (now !== said) context.log.info({ task, status: now, faults: state.faults }, "a Globus task goes on");
        said = now;
      } catch (error) {
        throwIfStopped(context.signal);
        const fault = asFault(error);
        if (fault.row.retry !== "soon" || needsPerson(fault) || ++lost > mostLost) throw fault;
        context.log.info({ err: fault, task, lost }, "a Globus task could not be looked at");
        await context.clock.sleep(waitAfterMs(fault, syncBackoff, lost), context.signal);
        continue;
      }
      await context.clock.sleep(waitMs, context.signal);
    }
  }

  state(task: string, context: CallContext): Promise<TaskState> {
    return this.#api.call({ method: "GET", path: taskPath(task), schema: taskSchema, what: taskName(task) }, context);
  }

  /** Where the files lie that a task which has ended brought there; what it skipped as present is not among them. */
  async brought(task: string, context: CallContext): Promise<ReadonlySet<string>> {
    const paths = new Set<string>();
    let marker: number | undefined;
    do {
      const query = marker === undefined ? {} : { query: { marker: String(marker) } };
      const path = `${taskPath(task)}/successful_transfers`;
      const call = { method: "GET", path, schema: doneSchema, what: taskName(task), ...query } as const;
      const page = await this.#api.call(call, context);
      for (const { destination_path: one } of page.DATA) paths.add(one);
      marker = page.next_marker ?? undefined;
    } while (marker !== undefined);
    return paths;
  }

  /** Why a task failed, in its own words. */
  async failure(task: string, state: TaskState, context: CallContext): Promise<Fault> {
    const { fatal_error: fatal } = state;
    const words = [fatal?.code, fatal?.description].filter((one) => typeof one === "string" && one !== "").join(": ");
    const event = await this.#lastError(task, context);
    const why = words === "" ? (event?.code ?? "no reason is given") : words;
    const shown = event?.text === undefined ? "" : `; ${quoted(event.text, 200)}`;
    return new Fault("TRANSFER", `Globus task '${task}' failed: ${quoted(why, 200)}${shown}`, {
      hint: `https://app.globus.org/activity/${encodeURIComponent(task)} shows all of its events`,
      details: { task, globus_code: fatal?.code ?? event?.code ?? "" },
    });
  }

  /** Ended when it returns. @throws Fault TRANSFER when it has not ended in time. */
  async cancel(task: string, context: CallContext): Promise<void> {
    try {
      const schema = z.object({ code: z.string() });
      await this.#api.call({ method: "POST", path: `${taskPath(task)}/cancel`, schema, what: taskName(task) }, context);
    } catch (error) {
      if (isMissing(error)) return;
      // It has ended before.
      if (!isFault(error) || error.details?.["globus_code"] !== "TaskComplete") throw error;
    }
    const began = context.clock.monotonic();
    for (;;) {
      const { status } = await this.state(task, context);
      if (status === "SUCCEEDED" || status === "FAILED") return;
      throwIfStopped(context.signal);
      if (context.clock.monotonic() - began > cancelMs) throw new Fault("TRANSFER", `${taskName(task)} does not end`);
      await context.clock.sleep(this.#pace.firstMs, context.signal);
    }
  }

  async #lastError(
    task: string,
    context: CallContext,
  ): Promise<{ readonly code: string; readonly text: string } | undefined> {
    const query = { filter: "is_error:1", limit: "1" };
    const path = `${taskPath(task)}/event_list`;
    try {
      const call = { method: "GET", path, query, schema: eventsSchema, what: taskName(task) } as const;
      const [event] = (await this.#api.call(call, context)).DATA;
      return event && { code: event.code, text: event.details ?? event.description ?? "" };
    } catch (error) {
      throwIfStopped(context.signal);
      context.log.debug({ err: asFault(error), task }, "the events of a Globus task could not be read");
      return undefined;
    }
  }

  #document(order: Submission, submission: string, now: number): string {
    const { encrypt, checksum, deadlineMs } = this.#settings;
    return JSON.stringify({
      DATA_TYPE: "transfer",
      submission_id: submission,
      label: `siteagent ${order.token} ${order.direction}`,
      source_endpoint: order.source,
      destination_endpoint: order.destination,
      // What lies there already with the same content needs not move again.
      sync_level: 3,
      verify_checksum: checksum,
      encrypt_data: encrypt,
      preserve_timestamp: false,
      skip_source_errors: false,
      fail_on_quota_errors: true,
      notify_on_succeeded: false,
      notify_on_failed: false,
      notify_on_inactive: false,
      deadline: isoTime(now + deadlineMs),
      DATA: order.files.map(({ source_path: from, destination_path: to }) => ({
        DATA_TYPE: "transfer_item",
        source_path: from,
        destination_path: to,
        recursive: false,
      })),
    });
  }
}

function taskPath(task: string): string {
  return `/task/${encodeURIComponent(task)}`;
}

function taskName(task: string): string {
  return `Globus task '${task}'`;
}

function wordsOf(state: TaskState): string {
  if (state.is_paused === true) return "paused by an administrator";
  return state.nice_status_short_description ?? state.nice_status ?? state.status;
}

function inactive(task: string, state: TaskState): Fault {
  return loginFault(
    `${taskName(task)} is suspended: ${quoted(wordsOf(state), 200)}`,
    "renew the credentials of its collections",
    {
      task,
    },
  );
}
