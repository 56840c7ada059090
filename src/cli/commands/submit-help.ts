import { resolve } from "node:path";
import { Fault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { type AppView, appViews } from "../../wire/apps.ts";
import { connectHub } from "../connect.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import { appText, groupsOf, type Serving } from "../format/app.ts";
import { hintNearest } from "../hints.ts";
import { buildProgram } from "../program.ts";
import { existingSiteFile } from "../site-file.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent submit --help [WORKFLOW]`. */
export async function help(context: CliContext, call: CommandCall): Promise<number> {
  const [workflow] = call.args;
  if (workflow === undefined) {
    const program = buildProgram(process, () => Promise.resolve());
    program.commands.find((command) => command.name() === "submit")?.outputHelp();
    return 0;
  }
  const sites = call.options.flag("local") ? await sitesHere(context, call) : await sitesOfHub(context, call);
  const served = sites.flatMap(({ id, apps, workflows }) => {
    const found = apps.filter((app) => app.workflow === workflow);
    if (found.length > 0) return found.map((app): Serving => ({ site: id, app }));
    return workflows.includes(workflow) ? [{ site: id, app: undefined }] : [];
  });
  if (served.length === 0) throw unknown(workflow, sites);
  const groups = groupsOf(served);
  if (isMachine(context.format)) await printData(context, { workflow, served: groups });
  else if (context.format === "name") {
    const names = new Set(groups.flatMap((group) => Object.keys(group.parameters)));
    context.print([...names].map((name) => `${name}\n`).join(""));
  } else context.print(appText(context, workflow, groups));
  return 0;
}

interface SiteApps {
  readonly id: string;
  readonly apps: readonly AppView[];
  /** Also those of which the site told no more. */
  readonly workflows: readonly string[];
}

async function sitesOfHub(context: CliContext, call: CommandCall): Promise<readonly SiteApps[]> {
  await using backend = await connectHub(context, call.options);
  return await backend.client.sites({ signal: context.signal });
}

/** The site file of this machine, or the one that `--config` names. */
async function sitesHere(context: CliContext, call: CommandCall): Promise<readonly SiteApps[]> {
  const given = call.options.list("config").findLast((item) => !item.includes("="));
  const file = existingSiteFile(context, given === undefined ? undefined : resolve(context.cwd, given));
  const [{ loadSite }, { builtInRegistries }] = await Promise.all([
    import("../../config/compile.ts"),
    import("../../config/registries.ts"),
  ]);
  const site = await loadSite(file, builtInRegistries, { env: context.env });
  const apps = appViews(site);
  return [{ id: site.id, apps, workflows: apps.map((app) => app.workflow) }];
}

function unknown(workflow: string, sites: readonly SiteApps[]): Fault {
  const known = [...new Set(sites.flatMap((site) => site.workflows))].toSorted();
  const hint = known.length === 0 ? "no site has told of any workflow yet" : hintNearest(workflow, known);
  return new Fault("NOT_FOUND", `no site serves workflow ${quoted(workflow)}`, { hint });
}
