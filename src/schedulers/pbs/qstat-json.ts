import { isJsonObject } from "../../common/json.ts";
import { parseLooseJson } from "./loose-json.ts";
import { type JobRecord, type Members, recordOfObject } from "./record.ts";

/** The jobs in the JSON of `qstat -f -F json`; undefined when it cannot be read. No member `Jobs` is no job, not "no jobs there". */
export function jobsOfJson(text: string): readonly JobRecord[] | undefined {
  const plain = parsed(text);
  if (plain !== undefined) return jobsIn(plain["Jobs"], isJsonObject, Object.entries, inPlain);
  const loose = parseLooseJson(text);
  return loose && jobsIn(loose.get("Jobs"), isMap, (jobs) => [...jobs], inMap);
}

/** The quick way for what is really JSON; a member `Jobs` that comes twice would lose all but the last there. */
function parsed(text: string): Readonly<Record<string, unknown>> | undefined {
  if (text.indexOf('"Jobs":') !== text.lastIndexOf('"Jobs":')) return undefined;
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
