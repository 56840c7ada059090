import { Fault } from "../../common/fault.ts";
import type { JsonValue } from "../../common/json.ts";
import type { JobView } from "../../wire/user-api.ts";
import type { BulkCreateResult } from "../../sdk/client.ts";
import { rowOf } from "../backend/hub.ts";
import { connectHub } from "../connect.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import { planText } from "../format/plan.ts";
import { counted, oneLine } from "../format/text.ts";
import { resolveIds } from "../query.ts";
import { requestsOf, type Submission } from "../submission.ts";
import { existingSiteFile } from "../site-file.ts";
import type { CommandCall } from "../spec.ts";
import { waitQuietly } from "./wait.ts";
import { watchJobs } from "./watch.ts";

/** `siteagent submit`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const { options } = call;
  if (options.flag("help")) {
    const { help } = await import("./submit-help.ts");
    return await help(context, call);
  }
  if (options.flag("local") && !options.flag("dry-run")) {
    throw new Fault("USAGE", "an agent makes no jobs", { hint: "leave --local away, or add --dry-run" });
  }
  const submission = await requestsOf(context, call);
  if (options.flag("dry-run")) {
    const { jobs } = submission;
    if (options.flag("local")) return await planned(context, jobs);
    await printData(
      isMachine(context.format) ? context : { ...context, format: "yaml" },
      submission.many ? jobs : (jobs[0] ?? {}),
    );
    context.note("nothing was sent; what a site would do with it: siteagent plan JOB.json");
    return 0;
  }
  await using backend = await connectHub(context, options);
  const parents = await resolveIds(backend, options.list("parent"));
  const inputs = await uploaded(context, submission, backend.client.files);
  const jobs = submission.jobs.map((job) => ({
    ...job,
    ...(parents.length > 0 ? { parents: [...parents] } : {}),
    config: { ...job.config, ...inputs },
  }));
  const [first] = jobs;
  if (!submission.many && first) {
    const view = await backend.client.submit(first, { signal: context.signal });
    if (!(options.flag("wait") && isMachine(context.format))) await tell(context, [view]);
    return options.flag("wait") ? await ending(context, backend, [view.id]) : 0;
  }
  const results = await backend.client.bulk(jobs, { signal: context.signal });
  const refused = await tellMany(context, results, options.flag("wait"));
  const ids = results.flatMap((result) => ("job" in result ? [result.job.id] : []));
  const code = options.flag("wait") && ids.length > 0 ? await ending(context, backend, ids) : 0;
  return refused > 0 ? 1 : code;
}

/** What the site of this machine would do with the jobs: argv, environment names, paths, verdicts; 1 when it would refuse one. */
async function planned(context: CliContext, jobs: Submission["jobs"]): Promise<number> {
  const siteFile = existingSiteFile(context, undefined);
  const { planJob } = await import("../../plan-job.ts");
  const plans = [];
  for (const job of jobs) plans.push(await planJob(siteFile, JSON.parse(JSON.stringify(job)) as JsonValue));
  if (isMachine(context.format)) await printData(context, plans.length === 1 ? (plans[0] ?? {}) : plans);
  else for (const plan of plans) context.print(planText(context, plan));
  return plans.some((plan) => plan.refused.length > 0) ? 1 : 0;
}

async function ending(
  context: CliContext,
  backend: Parameters<typeof watchJobs>[1],
  ids: readonly string[],
): Promise<number> {
  return context.out.interactive && !isMachine(context.format)
    ? await watchJobs(context, backend, ids, undefined)
    : await waitQuietly(context, backend, ids, undefined);
}

/** Files of `-i key=file`, put into the hub; their URLs by key. */
async function uploaded(
  context: CliContext,
  submission: Submission,
  files: { put(name: string, bytes: Uint8Array, options: { signal: AbortSignal }): Promise<{ url: string }> },
): Promise<Record<string, string>> {
  const urls: Record<string, string> = {};
  for (const { key, name, bytes } of submission.uploads) {
    urls[key] = (await files.put(name, bytes, { signal: context.signal })).url;
  }
  return urls;
}

async function tell(context: CliContext, views: readonly JobView[]): Promise<void> {
  if (context.format === "jsonl") await printData(context, views);
  else if (isMachine(context.format)) await printData(context, views.length === 1 ? (views[0] ?? {}) : { jobs: views });
  else if (context.format === "name") context.print(views.map((view) => `${view.id}\n`).join(""));
  else {
    for (const row of views.map(rowOf)) {
      context.print(
        `${context.out.style("green", context.symbols.good)} ${oneLine(row.id)}  ${row.status}  ${oneLine(row.workflow)}\n`,
      );
    }
  }
}

/** Tells what was made and what was refused; gives the number of the refused. */
async function tellMany(context: CliContext, results: readonly BulkCreateResult[], quiet: boolean): Promise<number> {
  const refused = results.filter((result) => "error" in result).length;
  if (isMachine(context.format) && !quiet) {
    await printData(context, context.format === "jsonl" ? results : { results });
  } else if (!isMachine(context.format)) {
    for (const [at, result] of results.entries()) {
      if ("job" in result) await tell(context, [result.job]);
      else context.note(`siteagent: line ${at + 1}: ${oneLine(result.error.detail)}`);
    }
    if (context.format !== "name") context.note(`${counted(results.length - refused, "job")} made, ${refused} refused`);
  }
  if (results.length > 0 && refused === results.length) throw new Fault("INVALID", "every line was refused");
  return refused;
}
