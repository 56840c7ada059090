import { isToken, type Token } from "../../common/token.ts";

/** The variable that carries the token into the job: the second place where a submission is found again. */
export const tokenVariable = "SITEAGENT_ATTEMPT_TOKEN";

/** What qstat says of one job. Attributes as text by the names of `qstat -f`: `Resource_List.walltime`. */
export interface JobRecord {
  readonly id: string;
  readonly attributes: ReadonlyMap<string, string>;
}

/** Attributes that say something here. A job has some fifty, and there may be thousands of jobs. */
const wanted = [
  "Job_Name",
  "job_state",
  "substate",
  "comment",
  "Hold_Types",
  "depend",
  "exec_host",
  "run_count",
  "Exit_status",
  "exit_status",
  "ctime",
  "stime",
  "start_time",
  "mtime",
  "obittime",
  "comp_time",
  "history_timestamp",
  "array_indices_submitted",
  "array_indices_remaining",
];
const wantedParts = [
  ["Resource_List", "walltime"],
  ["resources_used", "mem"],
  ["resources_used", "cput"],
  ["resources_used", "walltime"],
  ["Variable_List", tokenVariable],
] as const;

/** How a member of an object is got at: JSON that is JSON has plain objects, the other has maps. */
export interface Members {
  member(name: string): unknown;
}

/** Of JSON, where attributes with parts are objects. */
export function recordOfObject(id: string, job: Members, inside: (value: unknown) => Members | undefined): JobRecord {
  const attributes = new Map<string, string>();
  const put = (name: string, value: unknown): void => {
    if (["string", "number", "boolean"].includes(typeof value)) attributes.set(name, String(value));
  };
  for (const name of wanted) put(name, job.member(name));
  for (const [name, part] of wantedParts) put(`${name}.${part}`, inside(job.member(name))?.member(part));
  // That it was there at all: a job that shows its variables and not our token is not ours.
  if (job.member("Variable_List") !== undefined) attributes.set("Variable_List", "");
  return { id, attributes };
}

/** Whose job it is: the token in its variables, or its name. A site may rename jobs; nobody makes our tokens by chance. */
export function tokensOf({ attributes }: JobRecord): readonly Token[] {
  const listed = new RegExp(`(?:^|,)${tokenVariable}=([^,]*)`).exec(attributes.get("Variable_List") ?? "")?.[1];
  return [attributes.get(`Variable_List.${tokenVariable}`), listed, attributes.get("Job_Name")].filter(
    (text): text is Token => text !== undefined && isToken(text),
  );
}

/** Of a time as qstat prints it (`Fri Nov 20 08:35:22 2026`); our commands run with `TZ=UTC0`, in which it is formatted. ISO 8601. */
export function timeOf(text: string | undefined): string | undefined {
  if (text === undefined || !/^[A-Z][a-z]{2} [A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d \d{4}$/.test(text)) return undefined;
  const ms = Date.parse(`${text} UTC`);
  return Number.isNaN(ms) ? undefined : new Date(ms).toISOString();
}

const factors: Readonly<Record<string, number>> = {
  "": 1,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  t: 1024 ** 4,
  p: 1024 ** 5,
};

/** `1460kb`: units of PBS count 1024, without a unit it is bytes; words (`kw`) have 8 bytes. */
export function bytesOf(text: string | undefined): number | undefined {
  const parts = /^(\d+)([kmgtp]?)([bw]?)$/i.exec(text ?? "");
  if (!parts) return undefined;
  return Number(parts[1]) * (factors[parts[2]?.toLowerCase() ?? ""] ?? 1) * (parts[3]?.toLowerCase() === "w" ? 8 : 1);
}
