import { hostname } from "node:os";
import { Fault, isFault } from "../../common/fault.ts";
import { createHubClient, type HubClient } from "../../sdk/client.ts";
import { hubUrl } from "../connect.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import { timeAndAge } from "../format/time.ts";
import { askSecret, readText } from "../input.ts";
import type { Options } from "../options.ts";
import { type Profile, profilePath, readProfile, removeProfile, writeProfile } from "../profile.ts";
import type { CommandCall } from "../spec.ts";

/** How long the token that a password buys is good for. */
const tokenLifeMs = 30 * 86_400_000;

/** `siteagent login`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const { options } = call;
  if (options.flag("logout")) return await logout(context);
  const url = await chosenHub(context, options);
  const profile = await proven(context, url, options);
  const path = await writeProfile(context.env, profile);
  if (isMachine(context.format)) {
    await printData(context, { hub: profile.hub, user: profile.user, expires_at: profile.expires_at, profile: path });
    return 0;
  }
  const { good } = context.symbols;
  context.print(
    `${context.out.style("green", good)} logged in to ${profile.hub} as ${profile.user}; kept in ${path} (mode 0600)\n`,
  );
  if (profile.expires_at !== null)
    context.print(`  good until ${timeAndAge(profile.expires_at, context.now(), context.utc)}\n`);
  return 0;
}

async function chosenHub(context: CliContext, options: Options): Promise<string> {
  const given = options.text("hub") ?? context.env["SITEAGENT_HUB"] ?? (await readProfile(context.env))?.hub;
  if (given) return hubUrl(given);
  if (context.stdin.isTTY !== true) throw new Fault("USAGE", "no hub is named", { hint: "add --hub URL" });
  const prompts = await import("@clack/prompts");
  const answer = await prompts.text({
    message: "Address of the hub",
    placeholder: "https://hub.example.org",
    output: process.stderr,
  });
  if (prompts.isCancel(answer)) throw new Fault("CANCELLED", "nothing was done");
  return hubUrl(answer ?? "");
}

/** Asks for the credentials, tries them, and gives what is worth keeping. */
async function proven(context: CliContext, url: string, options: Options): Promise<Profile> {
  if (options.flag("token") || options.given("token-file") || context.env["SITEAGENT_TOKEN"]) {
    const token = await givenToken(context, options);
    await using client = createHubClient({ url, token });
    const me = await client.me({ signal: context.signal });
    return { hub: url, token, expires_at: null, user: me.name };
  }
  const username = await givenUsername(context, options);
  const password = options.given("password-file")
    ? firstLine(await readText(context, options.text("password-file") ?? ""))
    : await askSecret(context, `Password of ${username}`);
  await using client = createHubClient({ url, username, password });
  const login = await client.login({ signal: context.signal });
  const bought = await boughtToken(client, context);
  if (bought) return { hub: url, ...bought, user: username };
  const expires = login.expiresAtMs === undefined ? null : new Date(login.expiresAtMs).toISOString();
  return { hub: url, token: login.token, expires_at: expires, user: username };
}

/** An API token with my own role, so that nobody has to log in each day; undefined where the hub gives none. */
async function boughtToken(
  client: HubClient,
  context: CliContext,
): Promise<{ token: string; expires_at: string } | undefined> {
  try {
    const me = await client.me({ signal: context.signal });
    const expires = new Date(context.now() + tokenLifeMs).toISOString();
    const name = `cli ${hostname()}`.slice(0, 64);
    const made = await client.registries.createToken({ name, role: me.role, expires_at: expires });
    return { token: made.secret, expires_at: expires };
  } catch (error) {
    if (isFault(error, "FORBIDDEN", "NOT_FOUND", "UNSUPPORTED", "INVALID", "CONFLICT")) return undefined;
    throw error;
  }
}

async function givenToken(context: CliContext, options: Options): Promise<string> {
  const file = options.text("token-file");
  if (file !== undefined) return firstLine(await readText(context, file));
  return options.flag("token") ? await askSecret(context, "API token") : (context.env["SITEAGENT_TOKEN"] ?? "");
}

async function givenUsername(context: CliContext, options: Options): Promise<string> {
  const given = options.text("username");
  if (given) return given;
  if (context.stdin.isTTY !== true) {
    throw new Fault("USAGE", "no user is named", {
      hint: "add --username NAME --password-file FILE, or --token-file FILE",
    });
  }
  const prompts = await import("@clack/prompts");
  const answer = await prompts.text({ message: "User name", output: process.stderr });
  if (prompts.isCancel(answer)) throw new Fault("CANCELLED", "nothing was done");
  return answer ?? "";
}

async function logout(context: CliContext): Promise<number> {
  const removed = await removeProfile(context.env);
  context.note(removed ? `forgotten: ${profilePath(context.env)}` : "nobody was logged in");
  return 0;
}

function firstLine(text: string): string {
  return text.split(/\r?\n/, 1)[0] ?? "";
}
