import { isJsonObject } from "../../common/json.ts";
import { type LooseObject, type LooseValue, parseLooseJson } from "./loose-json.ts";
import { type JobRecord, recordOfObject } from "./record.ts";

/** The jobs in the JSON of `qstat -f -F json`; undefined when it cannot be read. No member `Jobs` is no job, not "no jobs there". */
export function jobsOfJson(text: string): readonly JobRecord[] | undefined {
  const root = plain(text) ?? parseLooseJson(text);
  if (root === undefined) return undefined;
  const jobs = root.get("Jobs");
  if (jobs === undefined) return [];
  if (!(jobs instanceof Map)) return undefined;
  return [...jobs].flatMap(([id, job]) => (job instanceof Map ? [recordOfObject(id, job)] : []));
}

/** The quick way for what is really JSON; a member `Jobs` that comes twice would lose all but the last there. */
function plain(text: string): LooseObject | undefined {
  if (text.indexOf('"Jobs":') !== text.lastIndexOf('"Jobs":')) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? asText(value) : undefined;
  } catch {
    return undefined;
  }
}

function asText(object: Readonly<Record<string, unknown>>): LooseObject {
  return new Map(Object.entries(object).map(([name, value]) => [name, textOf(value)] as const));
}

function textOf(value: unknown): LooseValue {
  if (isJsonObject(value)) return asText(value);
  return Array.isArray(value) ? value.map(textOf) : String(value);
}
