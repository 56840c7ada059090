import { lstat, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { isoTime } from "../common/clock.ts";
import { errnoOf } from "../common/fault.ts";
import { openPlainFile } from "../common/files.ts";
import type { AttemptEnd, EndCause } from "../jobs/states.ts";
import { signalName } from "./signals.ts";
import { parseIdentity, type ProcessIdentity } from "./identity.ts";

/** How long after the start guard the identity may be missing; then it counts as never started. */
export const startGraceMs = 30_000;
/** No file of a recorder comes near it. */
export const maxEvidenceBytes = 64 * 1024;

/** The exit record, `rc`. */
export interface ExitRecord {
  /** `exit` and `signal` are exact; `code` is what a shell saw (128+n may be a signal); `launch`: it never ran. */
  readonly kind: "exit" | "signal" | "code" | "launch";
  readonly value: number;
  readonly atMs: number;
  /** What was ordered before it ended. */
  readonly marker: "timeout" | "stop" | undefined;
  /** The recorder had no child left at that moment: nothing of the attempt lives. */
  readonly alone: boolean;
  readonly maxRssBytes: number | undefined;
  readonly cpuSeconds: number | undefined;
  readonly message: string | undefined;
}

export interface OomEvidence {
  readonly alone: boolean;
  readonly kills: number;
}

/** Everything that an attempt's directory says. File times are hints, these are evidence. */
export interface Evidence {
  readonly directory: "present" | "missing";
  /** Wall time at which the start guard was made; undefined = there is no guard. */
  readonly guardAtMs: number | undefined;
  /** The guard was taken by an order to stop: nothing began, and nothing will. */
  readonly barred: boolean;
  readonly recorder: (ProcessIdentity & { readonly mode: string | undefined }) | "damaged" | undefined;
  readonly job: ProcessIdentity | "damaged" | undefined;
  readonly rc: ExitRecord | "damaged" | undefined;
  /** Written by a subreaper that had no child left. */
  readonly gone: boolean;
  /** Output went beyond its cap. */
  readonly dropped: boolean;
  /** The kernel killed processes for lack of memory while it ran: of the attempt `alone`, or of those with whom it shares the count. */
  readonly oom: OomEvidence | undefined;
  readonly timeout: boolean;
  readonly stop: boolean;
  /** The attempt's own control group; undefined also when the file names a group that cannot be ours. */
  readonly cgroup: string | undefined;
}

/** Where an attempt's directory lies, for who reads it. */
export interface EvidenceSource {
  /** What is in it; undefined when it is missing. */
  names(): Promise<ReadonlySet<string> | undefined>;
  /** A file's text; undefined when it is no plain file, or far larger than any record. */
  read(name: string): Promise<string | undefined>;
  /** When `name` was changed last, by the clock of where it lies; undefined when it is not there. */
  modifiedMs(name: string): Promise<number | undefined>;
  /** Is `name` a symbolic link? Absent: nobody makes one there. */
  isLink?(name: string): Promise<boolean>;
}

/** Reads an attempt's directory; without the token its control group is not looked for. Throws only what is no answer (an unreadable or hanging file system). */
export function readEvidence(directory: string, token?: string): Promise<Evidence> {
  const source: EvidenceSource = {
    names: () => namesIn(directory),
    read: (name) => readText(directory, name),
    modifiedMs: (name) => modifiedMs(join(directory, name)),
    isLink: (name) => isLink(join(directory, name)),
  };
  return evidenceFrom(source, token);
}

/** The same from anywhere. */
export async function evidenceFrom(source: EvidenceSource, token?: string): Promise<Evidence> {
  const names = await source.names();
  const read = async (name: string): Promise<string | undefined> =>
    names?.has(name) === true ? await source.read(name) : undefined;
  const rc = await read("rc");
  const hasGuard = names?.has("started") === true;
  const [guardAtMs, barred, recorder, job, gone, out, err, oom, timeout, stop, cgroup] = await Promise.all([
    hasGuard ? source.modifiedMs("started") : undefined,
    hasGuard ? source.isLink?.("started") : undefined,
    read("recorder"),
    read("job"),
    rc === undefined ? undefined : read("gone"),
    rc === undefined ? undefined : read("out.dropped"),
    rc === undefined ? undefined : read("err.dropped"),
    rc === undefined ? undefined : read("oom"),
    read("timeout"),
    read("stop"),
    read("cgroup"),
  ]);
  const dropped = out ?? err;
  const told = { guardAtMs, barred: barred === true, rc, recorder, job, gone, dropped, oom, timeout, stop, cgroup };
  return evidenceOf({ there: names !== undefined, ...told }, token);
}

/** What was read; of the files: undefined = not there, or no plain file. */
export interface EvidenceFiles {
  /** The directory is. */
  readonly there: boolean;
  readonly guardAtMs: number | undefined;
  readonly barred: boolean;
  readonly rc: string | undefined;
  readonly recorder: string | undefined;
  readonly job: string | undefined;
  readonly gone: string | undefined;
  readonly dropped: string | undefined;
  readonly oom: string | undefined;
  readonly timeout: string | undefined;
  readonly stop: string | undefined;
  readonly cgroup: string | undefined;
}

/** What it says. */
export function evidenceOf(files: EvidenceFiles, token: string | undefined): Evidence {
  const { there, guardAtMs, barred, rc, recorder, job, oom, cgroup } = files;
  return {
    directory: there ? "present" : "missing",
    guardAtMs,
    barred,
    recorder: recorder === undefined ? undefined : (parseIdentity(recorder) ?? "damaged"),
    job: job === undefined ? undefined : (parseIdentity(job) ?? "damaged"),
    rc: rc === undefined ? undefined : (parseExitRecord(rc) ?? "damaged"),
    gone: files.gone !== undefined,
    dropped: files.dropped !== undefined,
    oom: oom === undefined ? undefined : parseOom(oom),
    timeout: files.timeout !== undefined,
    stop: files.stop !== undefined,
    cgroup: cgroup !== undefined && token !== undefined ? ownCgroup(cgroup.trim(), token) : undefined,
  };
}

/** The attempt could have written anything there; only a group that bears its own token is ever asked or killed. */
function ownCgroup(path: string, token: string): string | undefined {
  const parts = path.split("/");
  const ours = parts.at(-1) === token && /^siteagent-[0-9a-f]{12}$/.test(parts.at(-2) ?? "");
  return ours && path.startsWith("/") && !parts.includes("..") ? path : undefined;
}

/** `CODE` on the first line for people; `1 KIND VALUE WALLMS MARKER ALONE RSS CPU [message]` on the second. Undefined when damaged. */
export function parseExitRecord(text: string): ExitRecord | undefined {
  const match =
    /^\d{1,3}\n1 (exit|signal|code|launch) (\d{1,3}) (\d{1,15}) (-|timeout|stop) ([01]) (\d+) ([\d.]+)(?: (.*))?\n?$/s.exec(
      text,
    );
  if (!match) return undefined;
  const [, kind, value, atMs, marker, alone, rss, cpu, message] = match;
  return {
    kind: kind as ExitRecord["kind"],
    value: Number(value),
    atMs: Number(atMs),
    marker: marker === "-" ? undefined : (marker as "timeout" | "stop"),
    alone: alone === "1",
    maxRssBytes: Number(rss) || undefined,
    cpuSeconds: Number(cpu) || undefined,
    message: message?.trim() || undefined,
  };
}

/** `1 alone|shared KILLS`; undefined when damaged. */
export function parseOom(text: string): OomEvidence | undefined {
  const [, whose, kills] = /^1 (alone|shared) (\d{1,9})\n?$/.exec(text) ?? [];
  return whose === undefined ? undefined : { alone: whose === "alone", kills: Number(kills) };
}

/** The end that an exit record proves, with what else is known of it. */
export function endFromRecord(
  rc: ExitRecord,
  startedAtMs: number | undefined,
  known: Partial<Pick<Evidence, "dropped" | "oom">> = {},
): AttemptEnd {
  const times = {
    ...(startedAtMs === undefined || rc.kind === "launch" ? {} : { started_at: isoTime(startedAtMs) }),
    ended_at: isoTime(rc.atMs),
  };
  const usage =
    rc.maxRssBytes === undefined && rc.cpuSeconds === undefined
      ? {}
      : { usage: { max_rss_bytes: rc.maxRssBytes, cpu_seconds: rc.cpuSeconds } };
  const how = rc.kind === "signal" ? { signal: signalName(rc.value) } : { exit_code: rc.value };
  const cause = causeOf(rc, known.oom);
  const parts = [
    rc.message ?? (cause === "oom" ? undefined : describe(rc)),
    known.oom && describeOom(known.oom, cause, rc),
    known.dropped === true ? "output beyond its cap was dropped" : undefined,
  ];
  const message = parts.filter((part) => part !== undefined).join("; ");
  return { cause, ...how, evidence: "rc", ...(message ? { message } : {}), ...times, ...usage };
}

/** Killed as the kernel kills for lack of memory; a shell says 137 of what it ran. */
function isKilled(rc: ExitRecord): boolean {
  return rc.kind === "signal" ? rc.value === 9 : rc.kind !== "launch" && rc.value === 137;
}

function describeOom({ alone, kills }: OomEvidence, cause: EndCause, rc: ExitRecord): string | undefined {
  const some = kills === 1 ? "a process" : `${kills} processes`;
  if (alone) return `${cause === "oom" ? "out of memory: " : ""}the kernel killed ${some} of it for lack of memory`;
  return isKilled(rc) ? `meanwhile the kernel killed ${some} here for lack of memory, perhaps this one` : undefined;
}

function causeOf(rc: ExitRecord, oom: OomEvidence | undefined): EndCause {
  if (rc.marker === "timeout") return "timeout";
  if (rc.marker === "stop") return "cancelled";
  if (rc.kind === "launch") return "launch";
  if (oom?.alone === true && isKilled(rc)) return "oom";
  return rc.kind === "signal" ? "signal" : "exit";
}

function describe(rc: ExitRecord): string | undefined {
  if (rc.kind !== "code" || rc.value <= 128) return undefined;
  return `exit code ${rc.value}; it may stand for ${signalName(rc.value - 128)}: this machine's recorder cannot tell`;
}

/** Evidence lies where the job's account may write: what is no plain file, or far larger than any record, is none. */
async function readText(directory: string, name: string): Promise<string | undefined> {
  await using file = await openPlainFile(join(directory, name));
  if (!file || (await file.stat()).size > maxEvidenceBytes) return undefined;
  return await file.readFile("utf8");
}

/** What is in the directory: most of what may be there is not, and one look at all names costs less than a failed open for each. */
async function namesIn(directory: string): Promise<ReadonlySet<string> | undefined> {
  try {
    return new Set(await readdir(directory));
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}

async function isLink(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isSymbolicLink();
  } catch {
    return false; // it went away with its directory
  }
}

async function modifiedMs(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).mtimeMs;
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}
