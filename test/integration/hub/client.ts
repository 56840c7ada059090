import { request } from "undici";
import type { TestHub } from "./hubs.ts";

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** The parsed body; asking for it when there is none fails the test. */
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into answers of many shapes
  readonly json: any;
}

export interface Ask {
  readonly token?: string | undefined;
  readonly json?: unknown;
  readonly form?: Readonly<Record<string, string>>;
  readonly raw?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, unknown>>;
}

/** One request over a real socket. */
export async function ask(hub: { readonly url: string }, method: string, path: string, how: Ask = {}): Promise<Reply> {
  const headers: Record<string, string> = {};
  let body = how.raw;
  if (how.json !== undefined) {
    body = JSON.stringify(how.json);
    headers["content-type"] = "application/json";
  }
  if (how.form) {
    body = new URLSearchParams(how.form).toString();
    headers["content-type"] = "application/x-www-form-urlencoded";
  }
  if (how.token !== undefined) headers["authorization"] = `Bearer ${how.token}`;
  const pairs = Object.entries(how.query ?? {}).map(([key, value]) => [
    key,
    typeof value === "string" ? value : JSON.stringify(value),
  ]);
  const query = pairs.length === 0 ? "" : `?${new URLSearchParams(pairs as [string, string][]).toString()}`;
  const answer = await request(`${hub.url}${path}${query}`, {
    method: method as "GET",
    headers: { ...headers, ...how.headers },
    ...(body === undefined ? {} : { body }),
  });
  const text = await answer.body.text();
  return {
    status: answer.statusCode,
    headers: answer.headers,
    text,
    get json(): unknown {
      return JSON.parse(text);
    },
  };
}

async function tokenOf(hub: TestHub, form: Record<string, string>): Promise<string> {
  const answer = await ask(hub, "POST", "/token", { form });
  if (answer.status !== 200) throw new Error(`no token: ${answer.text}`);
  return answer.json.access_token as string;
}

export async function adminToken(hub: TestHub): Promise<string> {
  return tokenOf(hub, { grant_type: "password", ...hub.admin });
}

export async function userToken(hub: TestHub, username: string, password: string): Promise<string> {
  return tokenOf(hub, { grant_type: "password", username, password });
}

export interface SiteLogin {
  readonly id: string;
  readonly clientId: string;
  readonly token: string;
}

/** Makes a site (as the administrator) with a client that is logged in. */
export async function newSite(hub: TestHub, id: string, capabilities: readonly string[] = []): Promise<SiteLogin> {
  const admin = await adminToken(hub);
  await ask(hub, "POST", "/sites", { token: admin, json: { id, capability_ids: capabilities } });
  const made = await ask(hub, "POST", `/sites/${id}:generateCredentials`, { token: admin });
  const { client_id: clientId, client_secret: secret } = made.json as { client_id: string; client_secret: string };
  return {
    id,
    clientId,
    token: await tokenOf(hub, { grant_type: "client_credentials", client_id: clientId, client_secret: secret }),
  };
}

export async function newUser(hub: TestHub, username: string, password: string): Promise<string> {
  await ask(hub, "POST", "/users", { token: await adminToken(hub), json: { username, password } });
  return userToken(hub, username, password);
}

/** Makes a job and returns its id. */
export async function newJob(hub: TestHub, site: SiteLogin, body: object = {}): Promise<string> {
  const answer = await ask(hub, "POST", "/jobs", {
    token: site.token,
    json: { workflow: { id: "w" }, config: {}, claims: [], ...body },
  });
  if (answer.status !== 201) throw new Error(answer.text);
  return answer.json.id as string;
}
