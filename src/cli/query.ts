import { Fault } from "../common/fault.ts";
import { quoted } from "../common/nearest.ts";
import { isFinalStatus, statuses } from "../jobs/status.ts";
import { type JobBackend, type JobFilter, type JobRow, jobSorts } from "./backend/types.ts";
import type { CliContext } from "./context.ts";
import { totalText } from "./format/job.ts";
import { counted, oneLine } from "./format/text.ts";
import { hintNearest } from "./hints.ts";
import type { Options } from "./options.ts";

const mostJobs = 1000;

/** The filters of a command line; `everything` also takes jobs that have ended. */
export async function filterOf(
  context: CliContext,
  options: Options,
  backend: JobBackend,
  defaults: { readonly active: boolean },
): Promise<JobFilter> {
  const status = options.list("status").map(statusWord);
  return {
    status,
    active: defaults.active && status.length === 0 && !options.flag("all"),
    workflow: options.text("workflow"),
    site: options.text("site"),
    owner: await ownerOf(options, backend),
    tags: options.list("tag"),
    search: options.text("search"),
    since: options.moment("since", context.now()),
    before: options.moment("before", context.now()),
    sort: sortOf(options.text("sort")),
    limit: options.integer("limit", 1, mostJobs) ?? mostJobs,
  };
}

/** True when a flag narrows the choice. */
export function hasFilter(options: Options): boolean {
  const names = ["status", "workflow", "site", "tag", "since", "before", "search", "owner", "mine", "everyone"];
  return names.some((name) => options.given(name));
}

async function ownerOf(options: Options, backend: JobBackend): Promise<string | undefined> {
  const owner = options.text("owner");
  if (owner !== undefined) return owner;
  if (options.flag("everyone") || backend.kind === "local") return undefined;
  const me = await backend.me();
  return options.flag("mine") || me.onlyMine ? me.name : undefined;
}

function statusWord(text: string): string {
  const word = text.toUpperCase();
  if ((statuses as readonly string[]).includes(word)) return word;
  throw new Fault("USAGE", `--status ${quoted(text)} is no status`, { hint: hintNearest(word, statuses) });
}

function sortOf(text: string | undefined): JobFilter["sort"] {
  if (text === undefined) return "-created_at";
  const key = text.replace(/^(-?)(created|updated)$/, "$1$2_at");
  const known = jobSorts.find((sort) => sort === key);
  if (known) return known;
  throw new Fault("USAGE", `--sort ${quoted(text)} is no key`, {
    hint: "one of: created, updated, name, each also with -",
  });
}

/** One id as written: whole, a unique beginning (with or without the part before the colon), or `last`. @throws Fault NOT_FOUND, USAGE. */
export async function resolveId(backend: JobBackend, word: string): Promise<string> {
  if (word === "last") return (await newest(backend)).id;
  const matches = await jobsBeginningWith(backend, word);
  const [first, second] = matches;
  if (!first) {
    throw new Fault("NOT_FOUND", `no job ${quoted(word)}`, {
      hint: backend.kind === "local" ? "the agent here: siteagent jobs --local --all" : "see: siteagent jobs --all",
    });
  }
  if (!second) return first.id;
  throw new Fault("USAGE", `${quoted(word)} fits ${counted(matches.length, "job")}`, {
    hint: `among them ${matches
      .slice(0, 5)
      .map((row) => row.id)
      .join(", ")}`,
  });
}

/** Several, in order, each once. */
export async function resolveIds(backend: JobBackend, words: readonly string[]): Promise<readonly string[]> {
  const ids: string[] = [];
  for (const word of words) ids.push(await resolveId(backend, word));
  return [...new Set(ids)];
}

async function newest(backend: JobBackend): Promise<JobRow> {
  const me = backend.kind === "hub" ? await backend.me() : undefined;
  const owner = me?.onlyMine ? me.name : undefined;
  const { rows } = await backend.list({ ...everything, owner, limit: 1 });
  const [row] = rows;
  if (row) return row;
  throw new Fault("NOT_FOUND", "there is no job yet", { hint: "make one with: siteagent submit WORKFLOW" });
}

async function jobsBeginningWith(backend: JobBackend, word: string): Promise<readonly JobRow[]> {
  try {
    return [await backend.job(word)];
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== "NOT_FOUND") throw error;
  }
  const { rows } = await backend.list({ ...everything, search: word });
  return rows.filter((row) => row.id.startsWith(word) || row.id.slice(row.id.indexOf(":") + 1).startsWith(word));
}

const everything: JobFilter = {
  status: [],
  active: false,
  workflow: undefined,
  site: undefined,
  owner: undefined,
  tags: [],
  search: undefined,
  since: undefined,
  before: undefined,
  sort: "-created_at",
  limit: mostJobs,
};

/**
 * The jobs of a command that acts on many: ids, or filters with `--all-matching`, which tells the count and asks unless `--yes`.
 * `active`: only jobs that have not ended.
 * @throws Fault USAGE, NOT_FOUND, CANCELLED when the answer is no.
 */
export async function selection(
  context: CliContext,
  backend: JobBackend,
  words: readonly string[],
  options: Options,
  what: { readonly verb: string; readonly active: boolean },
): Promise<readonly string[]> {
  if (!options.flag("all-matching")) {
    if (words.length === 0 && asks(context) && !hasFilter(options)) return await pick(backend, what);
    if (words.length === 0) {
      throw new Fault("USAGE", "no job is named", { hint: "name ids or `last`, or use filters with --all-matching" });
    }
    if (hasFilter(options)) throw new Fault("USAGE", "filters need --all-matching instead of ids");
    return await resolveIds(backend, words);
  }
  if (words.length > 0) throw new Fault("USAGE", "either ids or --all-matching, not both");
  const filter = await filterOf(context, options, backend, { active: what.active });
  const list = await backend.list(filter);
  const { rows } = list;
  const chosen = what.active ? rows : rows.filter((row) => isFinalStatus(row.status));
  if (chosen.length === 0) throw noneOf(what.active, "match");
  const all = totalText(list);
  if (all !== undefined)
    context.note(`only the first ${rows.length} of ${all} are taken; repeat the command for the rest`);
  if (!options.flag("yes")) await confirm(context, `${what.verb} ${counted(chosen.length, "job")}?`);
  return chosen.map((row) => row.id);
}

function noneOf(active: boolean, verb: string): Fault {
  return new Fault("NOT_FOUND", `no ${active ? "active" : "ended"} jobs ${verb}`, {
    hint: "see: siteagent jobs --all",
  });
}

function asks(context: CliContext): boolean {
  return context.stdin.isTTY === true && context.err.interactive;
}

const mostPicked = 100;

/** A list on the terminal to choose from. @throws Fault NOT_FOUND, CANCELLED. */
async function pick(
  backend: JobBackend,
  what: { readonly verb: string; readonly active: boolean },
): Promise<readonly string[]> {
  const { rows } = await backend.list({ ...everything, active: what.active, limit: mostPicked });
  const chosen = what.active ? rows : rows.filter((row) => isFinalStatus(row.status));
  if (chosen.length === 0) throw noneOf(what.active, "are here");
  const prompts = await import("@clack/prompts");
  const answer = await prompts.multiselect({
    message: `${what.verb} which jobs? (space marks, enter goes on)`,
    options: chosen.map((row) => ({
      value: row.id,
      label: oneLine(`${row.id}  ${row.status}  ${row.name || row.workflow}`),
    })),
    maxItems: 12,
    required: true,
    output: process.stderr,
  });
  if (prompts.isCancel(answer)) throw new Fault("CANCELLED", "nothing was done");
  return answer;
}

/** @throws Fault CANCELLED at "no", USAGE where nobody can answer. */
export async function confirm(context: CliContext, question: string): Promise<void> {
  if (!asks(context)) {
    throw new Fault("USAGE", `nobody can answer '${question}' here`, { hint: "add --yes" });
  }
  const prompts = await import("@clack/prompts");
  const answer = await prompts.confirm({ message: question, initialValue: false, output: process.stderr });
  if (answer !== true) throw new Fault("CANCELLED", "nothing was done");
}
