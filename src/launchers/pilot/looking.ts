/** What can be known of an attempt that was handed to a node: by the node's words, and by its directory. */
import { join } from "node:path";
import { isoTime } from "../../common/clock.ts";
import type { CallContext } from "../../common/context.ts";
import { Fault } from "../../common/fault.ts";
import type { Host } from "../../hosts/types.ts";
import { type Evidence, maxEvidenceBytes } from "../../runner/evidence.ts";
import { evidenceOn } from "../batch/places.ts";
import type { AttemptRef, AttemptStatus } from "../types.ts";
import type { Allocation, Allocations } from "./allocations.ts";
import { bare, type Entry, isWithdrawn } from "./attempts.ts";
import type { PilotFacts } from "./judge.ts";
import { idleWord, type PilotNode } from "./node.ts";
import type { HeardRecord } from "./orders.ts";

/** What the node said of an attempt that we handed to it. */
export function told(entry: Entry, node: PilotNode): AttemptStatus {
  if (entry.startedAtMs === undefined) return { state: "queued", reason: `waits for its turn on ${node.host}` };
  return { state: "running", since: isoTime(entry.startedAtMs), node: node.host };
}

/** Everything that decides how it is with it; `wholeMs`: what an allocation has for one attempt. @throws Fault when its directory cannot be read: then nothing is known. */
export async function factsOf(
  host: Host,
  entry: Entry,
  { one, node }: { readonly one: Allocation; readonly node: PilotNode },
  wholeMs: number,
  context: CallContext,
): Promise<PilotFacts> {
  const record = entry.word?.record;
  const evidence = record ? heardEvidence(record) : await evidenceOn(host, entry.directory, context);
  const isEarly = evidence.guardAtMs !== undefined && evidence.recorder === undefined && evidence.rc === undefined;
  const stopped = evidence.rc !== undefined && evidence.rc !== "damaged" && evidence.rc.marker === "stop";
  return {
    evidence,
    lost: stopped && (await host.files.stat(join(entry.directory, "lost"), context)) !== undefined,
    withdrawn: isEarly && isWithdrawn(new Set((await host.files.list(entry.directory, context)) ?? [])),
    lentMs: entry.lent ? wholeMs : undefined,
    held: isHeld(entry, one),
    word: entry.word,
    node: { host: node.host, calmAtMs: node.calmAtMs, ending: endingOf(entry, one, node) },
    over: one.over && { why: one.over.why, forMs: context.clock.monotonic() - one.over.at },
    nowMs: context.clock.now(),
  };
}

/** The node agent has read the record on the node, and looked at what else is there: nothing that says more. */
function heardEvidence({ startedAtMs, rc }: HeardRecord): Evidence {
  return {
    directory: "present",
    guardAtMs: startedAtMs,
    barred: false,
    recorder: undefined,
    job: undefined,
    rc,
    gone: false,
    dropped: false,
    oom: undefined,
    timeout: rc.marker === "timeout",
    stop: false,
    cgroup: undefined,
  };
}

function isHeld({ token }: Entry, one: Allocation): boolean {
  return [...one.nodes.values()].some(({ placed }) => placed.get(token)?.held === true);
}

/** When the first of its nodes was told to end: what runs on several ends with any of them. */
function endingOf(entry: Entry, one: Allocation, first: PilotNode): PilotFacts["node"]["ending"] {
  const isWide = (entry.plan?.resources.nodes ?? 1) > 1 || isHeld(entry, one);
  const endings = (isWide ? [...one.nodes.values()] : [first]).flatMap(({ ending }) => ending ?? []);
  const told = endings.filter(({ why }) => why !== idleWord);
  return told.toSorted((a, b) => a.atMs - b.atMs)[0] ?? first.ending;
}

/** An attempt that an earlier agent handed over and whose order is not there any more: its directory says where it was. undefined = it never began. */
export async function learn(
  { files }: Host,
  allocations: Allocations,
  ref: AttemptRef,
  context: CallContext,
): Promise<Entry | undefined> {
  const names = new Set((await files.list(ref.directory, context)) ?? []);
  if (!names.has("started") || isWithdrawn(names)) return undefined;
  const path = join(ref.directory, "allocation");
  const text = await files.read(path, { maxBytes: maxEvidenceBytes }, context);
  const place = text && allocations.nodeAt(text.toString("utf8"));
  if (!place) throw new Fault("RUNNER", `it has begun, and '${path}' names no allocation of this target`);
  const entry = { ...bare(ref.token, ref.directory, context.clock.monotonic()), place };
  return names.has("rc") ? { ...entry, word: { kind: "ended" } } : entry;
}
