import { join, resolve } from "node:path";
import { errnoOf, Fault } from "../../common/fault.ts";
import { locate } from "../../common/locations.ts";
import { createLogger } from "../../common/pino.ts";
import type { RunningHub } from "../../hub/main.ts";
import { type CliContext, isMachine } from "../context.ts";
import { factsText } from "../format/table.ts";
import { shellQuoted } from "../../common/shell.ts";
import type { Options } from "../options.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent hub`: listens until INT or TERM. The log goes to standard error, so that what is printed at the start stays data. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const { options } = call;
  const dev = options.flag("dev");
  const file = options.text("config");
  if (!dev && file === undefined) {
    throw new Fault("USAGE", "a hub needs settings", {
      hint: "siteagent hub --config hub.yaml, or siteagent hub --dev to try one",
    });
  }
  const ending = endOfProcess();
  const [{ startHub }, { plainExtensions, standardExtensions }] = await Promise.all([
    import("../../hub/main.ts"),
    import("../../hub/extensions.ts"),
  ]);
  const quiet = dev && context.err.interactive;
  const starting = startHub({
    dev,
    ...(dev ? { dataDir: dataDirectory(context, options) } : {}),
    ...(file === undefined ? {} : await settings(context, file, dev)),
    ...numberOption(options),
    ...textOption(options),
    log: createLogger({ level: quiet ? "warn" : "info", fd: 2 }),
    extensions: options.flag("plain") ? plainExtensions : standardExtensions,
  });
  const hub = await starting.catch((error: unknown) => {
    throw listenFault(error);
  });
  tell(context, hub);
  await ending;
  await hub.close();
  return 0;
}

/** The faults of listening in words; all others as they are. */
function listenFault(error: unknown): unknown {
  const code = errnoOf(error);
  if (code === "EADDRINUSE") {
    const hint = "another program listens there: choose another one with --port N, or any free one with --port 0";
    return new Fault("ALREADY_RUNNING", "the port is in use", { hint, cause: error });
  }
  if (code === "EACCES" || code === "EADDRNOTAVAIL") {
    return new Fault("CONFIG", `cannot listen at this address: ${code}`, {
      hint: "see --host and --port",
      cause: error,
    });
  }
  return error;
}

function dataDirectory(context: CliContext, options: Options): string {
  const given = options.text("data");
  return given === undefined ? join(locate("state", context.env), "hub-dev") : resolve(context.cwd, given);
}

async function settings(
  context: CliContext,
  file: string,
  dev: boolean,
): Promise<{ config: unknown; configDir: string }> {
  const { loadHubFile } = await import("../../hub/load.ts");
  const loaded = await loadHubFile(resolve(context.cwd, file), { dev, env: context.env });
  return { config: loaded.input, configDir: loaded.directory };
}

function numberOption(options: Options): { port?: number } {
  const port = options.integer("port", 0, 65_535);
  return port === undefined ? {} : { port };
}

function textOption(options: Options): { host?: string } {
  const host = options.text("host");
  return host === undefined ? {} : { host };
}

/** Resolves at the first INT or TERM; the second one ends the process. */
function endOfProcess(): Promise<void> {
  const { promise, resolve: ended } = Promise.withResolvers<void>();
  let asked = false;
  const on = (code: number): void => {
    if (asked) process.exit(code);
    asked = true;
    ended();
  };
  process.on("SIGINT", () => on(130));
  process.on("SIGTERM", () => on(143));
  return promise;
}

/** One JSON line for scripts; address, password and commands to try for people. */
function tell(context: CliContext, hub: RunningHub): void {
  const { admin, site, url } = hub;
  if (isMachine(context.format)) {
    const data = { url, ...(admin ? { admin } : {}), ...(site ? { site } : {}) };
    context.print(`${JSON.stringify(data)}\n`);
    return;
  }
  const { out } = context;
  const facts: (readonly [string, string])[] = [
    ["Address", out.style("bold", url)],
    ["API page", `${url}/docs`],
    ["User", admin ? `${admin.username}, password ${admin.password}` : ""],
    ["Site", site ? `${site.id}, client id ${site.client_id}, secret ${site.client_secret}` : ""],
  ];
  context.print(
    `${out.style("green", context.symbols.dot)} ${out.style("bold", "siteagent hub")} listens\n${factsText(facts, out)}`,
  );
  if (admin && site) {
    const lines = commands(url, admin, site).map((line) => `  ${line}\n`);
    context.print(`\nIn another terminal:\n${lines.join("")}`);
  }
  context.note("Ctrl-C ends it");
}

/** The way from here to a finished job. */
function commands(
  url: string,
  admin: { readonly username: string },
  site: { readonly id: string; readonly client_id: string },
): readonly string[] {
  const hub = shellQuoted(url);
  return [
    `siteagent login --hub ${hub} --username ${shellQuoted(admin.username)}`,
    `siteagent init --site ${shellQuoted(site.id)} --api ${hub} --client-id ${shellQuoted(site.client_id)} --example-app`,
    "siteagent run                            # the agent; leave it running",
    "siteagent submit hello-1.0.0 --wait",
  ];
}
