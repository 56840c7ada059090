import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Fault } from "../../common/fault.ts";
import { type JobCreate, jobCreateSchema, type JobView } from "../../wire/user-api.ts";
import { rowOf } from "../backend/hub.ts";
import { connectHub } from "../connect.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import { oneLine } from "../format/text.ts";
import { resolveIds } from "../query.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent resubmit`: a new job with the request of an old one, which `--edit` opens first. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const { options } = call;
  await using backend = await connectHub(context, options);
  const [id = ""] = await resolveIds(backend, call.args);
  const request = requestOf(await backend.client.job(id, { signal: context.signal }));
  const wanted = options.flag("edit") ? await edited(context, request) : request;
  const made = await backend.client.submit(wanted, { signal: context.signal });
  if (isMachine(context.format)) await printData(context, made);
  else if (context.format === "name") context.print(`${made.id}\n`);
  else context.print(`${context.symbols.good} ${oneLine(made.id)}  ${rowOf(made).status}  from ${oneLine(id)}\n`);
  return 0;
}

/** What somebody would have to submit to get this job again. */
function requestOf(job: JobView): JobCreate {
  return {
    workflow: job.workflow.id,
    ...(job.name === null ? {} : { name: job.name }),
    ...(job.description === null ? {} : { description: job.description }),
    config: job.config,
    parameters: job.parameters,
    tags: job.tags,
    parents: job.parents,
    parent_policy: job.parent_policy,
    priority: job.priority,
  };
}

/**
 * Opens the request in the person's editor. A request that cannot be sent stays on disk: no edit is lost.
 * @throws Fault USAGE without an editor or when it fails, INVALID with every problem and the file's name
 */
async function edited(context: CliContext, request: JobCreate): Promise<JobCreate> {
  const editor = context.env["VISUAL"] || context.env["EDITOR"];
  if (!editor) throw new Fault("USAGE", "--edit needs an editor", { hint: "export EDITOR=vi" });
  const folder = await mkdtemp(join(tmpdir(), "siteagent-"));
  const file = join(folder, "job.json");
  await writeFile(file, `${JSON.stringify(request, null, 2)}\n`, { mode: 0o600 });
  const code = await runEditor(editor, file, context.env);
  if (code !== 0)
    throw new Fault("USAGE", `the editor '${editor}' ended with ${code}; nothing was made`, {
      hint: `the request is in ${file}`,
    });
  const checked = jobCreateSchema.safeParse(parsed(await readFile(file, "utf8"), file));
  if (!checked.success) {
    const problems = checked.error.issues.map((issue) => `${issue.path.join(".") || "the request"}: ${issue.message}`);
    throw new Fault("INVALID", `'${file}': ${problems.join("; ")}`, {
      hint: `mend it, then: siteagent submit --file ${file}`,
    });
  }
  await rm(folder, { recursive: true });
  return checked.data;
}

function parsed(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Fault("INVALID", `'${file}' is no JSON: ${why}`, {
      hint: `mend it, then: siteagent submit --file ${file}`,
      cause: error,
    });
  }
}

/** EDITOR may hold arguments (`code --wait`): a shell takes it apart, the file stays one argument. */
function runEditor(editor: string, file: string, env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn("/bin/sh", ["-c", `${editor} "$1"`, "editor", file], { stdio: "inherit", env });
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? 1));
  });
}
