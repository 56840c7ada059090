import { isJsonObject } from "../../common/json.ts";
import type { Steps } from "../../common/slices.ts";
import { parseLooseJson } from "./loose-json.ts";
import { type JobRecord, type Members, recordOfObject } from "./record.ts";

/** The jobs in the JSON of `qstat -f -F json`; undefined when it cannot be read. No member `Jobs` is no job, not "no jobs there". */
export function* jobsOfJson(text: string): Steps<readonly JobRecord[] | undefined> {
  const one = text.indexOf('"Jobs":') === text.lastIndexOf('"Jobs":');
  const pieces = one && text.length > longText ? yield* piecesOf(text) : undefined;
  if (pieces) return pieces;
  const plain = one ? parsed(text) : undefined;
  if (plain !== undefined) return jobsIn(plain["Jobs"], isJsonObject, Object.entries, inPlain);
  const loose = parseLooseJson(text);
  return loose && jobsIn(loose.get("Jobs"), isMap, (jobs) => [...jobs], inMap);
}

/** Characters; less is read within some milliseconds. */
const longText = 256 * 1024;

/**
 * The same, job by job, as far as the text is laid out as qstat does it: each member of `Jobs` begins in a line of its own, and no other line has its
 * indentation. Each piece is read as JSON by itself, and so is what stands around them; where all of it is, the whole is that JSON. undefined: it is not.
 */
function* piecesOf(text: string): Steps<readonly JobRecord[] | undefined> {
  const [head, indent] = /^[^{]*\{[^{]*"Jobs":\s*\{(?=(\n[ \t]+)")/.exec(text.slice(0, 10_000)) ?? [];
  if (head === undefined || indent === undefined || parsed(`${head}}}`) === undefined) return undefined;
  const pieces = text.slice(head.length + indent.length).split(`${indent}"`);
  const last = pieces.pop() ?? "";
  const end = last.lastIndexOf(`${indent}}`) + indent.length + 1;
  if (!/^\s*\}\s*\}\s*$/.test(last.slice(end))) return undefined;
  const records: JobRecord[] = [];
  for (const [index, piece] of [...pieces, last.slice(0, end)].entries()) {
    // A comma between two, none after the last; the quote of all but the first was taken for the cut.
    const body = index === pieces.length ? piece : piece.endsWith(",") ? piece.slice(0, -1) : undefined;
    const job = body === undefined ? undefined : parsed(`{${index === 0 ? "" : '"'}${body}}`);
    const read = job && jobsIn(job, isJsonObject, Object.entries, inPlain);
    if (read?.length !== 1) return undefined;
    records.push(...read);
    yield;
  }
  return records;
}

/** The quick way for what is really JSON; a member `Jobs` that comes twice would lose all but the last there. */
function parsed(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function jobsIn<Group extends object>(
  jobs: unknown,
  isGroup: (value: unknown) => value is Group,
  entriesOf: (group: Group) => readonly (readonly [string, unknown])[],
  inside: (value: unknown) => Members | undefined,
): readonly JobRecord[] | undefined {
  if (jobs === undefined) return [];
  if (!isGroup(jobs)) return undefined;
  return entriesOf(jobs).flatMap(([id, job]) => {
    const members = inside(job);
    return members === undefined ? [] : [recordOfObject(id, members, inside)];
  });
}

function inPlain(value: unknown): Members | undefined {
  if (!isJsonObject(value)) return undefined;
  return { member: (name) => (Object.hasOwn(value, name) ? value[name] : undefined) };
}

function isMap(value: unknown): value is ReadonlyMap<string, unknown> {
  return value instanceof Map;
}

function inMap(value: unknown): Members | undefined {
  return isMap(value) ? { member: (name) => value.get(name) } : undefined;
}
