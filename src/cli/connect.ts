import { Fault } from "../common/fault.ts";
import { agentPlace, siteFileFault } from "./agent-place.ts";
import type { JobBackend } from "./backend/types.ts";
import type { HubBackend } from "./backend/hub.ts";
import type { CliContext } from "./context.ts";
import type { ControlClient } from "./control-client.ts";
import type { Options } from "./options.ts";
import { readProfile } from "./profile.ts";

/** The hub that is meant, and the token for it. A token of the profile goes to the profile's hub only. */
export interface HubAccess {
  readonly url: string;
  readonly token: string | undefined;
}

/** Flag, SITEAGENT_HUB, profile. @throws Fault USAGE when there is none. */
export async function hubAccess(context: CliContext, options: Options): Promise<HubAccess> {
  const given = options.text("hub") ?? context.env["SITEAGENT_HUB"];
  const token = context.env["SITEAGENT_TOKEN"];
  if (given && token) return { url: hubUrl(given), token };
  const profile = await readProfile(context.env);
  if (given) {
    const url = hubUrl(given);
    return { url, token: profile && hubUrl(profile.hub) === url ? profile.token : undefined };
  }
  if (profile) return { url: hubUrl(profile.hub), token: token ?? profile.token };
  throw new Fault("USAGE", "no hub is named", {
    hint: "siteagent login --hub URL, or --hub URL with SITEAGENT_TOKEN; --local asks the agent on this machine",
  });
}

/** Without a slash at the end. @throws Fault USAGE. */
export function hubUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "http:" && url?.protocol !== "https:") {
    throw new Fault("USAGE", `'${text}' is no address of a hub`, { hint: "write https://hub.example.org" });
  }
  if (url.username !== "" || url.password !== "") {
    throw new Fault("USAGE", "the address of a hub holds no password", { hint: "use: siteagent login" });
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, "");
}

/** Where job commands get their answers; ends with its scope. */
export async function connect(context: CliContext, options: Options): Promise<JobBackend> {
  if (!options.flag("local")) return await connectHub(context, options);
  const { LocalBackend } = await import("./backend/local.ts");
  return new LocalBackend(await connectAgent(context, options), context);
}

/** The hub, for what an agent cannot do. */
export async function connectHub(context: CliContext, options: Options): Promise<HubBackend> {
  const access = await hubAccess(context, options);
  const { HubBackend } = await import("./backend/hub.ts");
  return new HubBackend(access, context);
}

/**
 * The agent on this machine. A site file that cannot be used matters only when no agent answers: its faults are told then, also when
 * the one that answers at the usual place is an agent of another file.
 */
export async function connectAgent(context: CliContext, options: Options): Promise<ControlClient> {
  const { socket, siteFile, certain } = await agentPlace(context, options);
  const { ControlClient } = await import("./control-client.ts");
  if (siteFile === undefined) return new ControlClient(socket, context.signal);
  const siteFileIsWrong = () => siteFileFault(siteFile, context.env);
  const client = new ControlClient(socket, context.signal, siteFileIsWrong);
  if (certain) return client;
  await using probe = new ControlClient(socket, context.signal);
  const found = await probe.status().catch(() => undefined);
  if (found === undefined || found.config.file === siteFile) return client;
  await client[Symbol.asyncDispose]();
  const fault = await siteFileIsWrong();
  throw fault ?? new Fault("NO_AGENT", `the agent on '${socket}' is not that of '${siteFile}'`);
}

/** Where `connectAgent` looks. */
export async function socketPath(context: CliContext, options: Options): Promise<string> {
  return (await agentPlace(context, options)).socket;
}
