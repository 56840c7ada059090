/**
 * Runs one hook of a site's ES module in a process of its own: `node hook-child.ts MODULE HOOK`. The job comes as JSON in the file
 * `SITEAGENT_HOOK_INPUT`; what the exported function returns goes to `SITEAGENT_HOOK_RESULT`. The module may export the hook by its
 * name or as a member of its default export. A thrown error ends with exit code 1 and its message on stderr.
 */
import { readFile, writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { messageOf } from "../common/fault.ts";

const [modulePath = "", hook = ""] = process.argv.slice(2);
const module = (await import(pathToFileURL(modulePath).href)) as Record<string, unknown>;
const container = (typeof module[hook] === "function" ? module : module["default"]) as
  | Record<string, unknown>
  | undefined;
const run = container?.[hook];
if (typeof run !== "function") {
  process.stderr.write(`${modulePath} exports no function '${hook}'\n`);
  process.exit(70);
}
const input: unknown = JSON.parse(await readFile(process.env["SITEAGENT_HOOK_INPUT"] ?? "", "utf8"));
try {
  const result: unknown = await (run as (input: unknown) => unknown)(input);
  await writeFile(process.env["SITEAGENT_HOOK_RESULT"] ?? "", JSON.stringify(result ?? {}), { mode: 0o600 });
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exit(1);
}
