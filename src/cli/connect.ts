import { join } from "node:path";
import { Fault } from "../common/fault.ts";
import { locate } from "../common/locations.ts";
import type { JobBackend } from "./backend/types.ts";
import type { HubBackend } from "./backend/hub.ts";
import type { CliContext } from "./context.ts";
import type { ControlClient } from "./control-client.ts";
import type { Options } from "./options.ts";
import { readProfile } from "./profile.ts";

/** Same as `controlSocketName` of the wire, without loading its schemas. */
const socketName = "agent.sock";

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

/** The agent on this machine. */
export async function connectAgent(context: CliContext, options: Options): Promise<ControlClient> {
  const socket = await socketPath(context, options);
  const { ControlClient } = await import("./control-client.ts");
  return new ControlClient(socket, context.signal);
}

/** Flag or SITEAGENT_SOCKET, then the runtime directory of the named site file, then the usual place. */
export async function socketPath(context: CliContext, options: Options): Promise<string> {
  const given = options.text("socket") ?? context.env["SITEAGENT_SOCKET"];
  if (given) return given;
  const file = options.text("config") ?? context.env["SITEAGENT_CONFIG"];
  if (!file) return join(locate("runtime", context.env), socketName);
  const [{ loadSite }, { builtInRegistries }] = await Promise.all([
    import("../config/compile.ts"),
    import("../config/registries.ts"),
  ]);
  const site = await loadSite(file, builtInRegistries, { env: context.env });
  return join(site.agent.runtimeDir, socketName);
}
