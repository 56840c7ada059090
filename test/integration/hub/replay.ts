/**
 * Replays a recorded scenario against a listening hub and says where the answers differ. The rules are in
 * test/fixtures/nmdc-runtime/README.md.
 */
import { randomBytes } from "node:crypto";
import { request as httpRequest } from "undici";
import {
  type Answer,
  collect,
  compareHeaders,
  Comparison,
  failures,
  type Json,
  type JsonMap,
  pointed,
  type Step,
  substitute,
} from "./replay-compare.ts";

export interface Scenario {
  readonly scenario: string;
  readonly title: string;
  readonly setup: Setup;
  readonly steps: readonly Step[];
}

interface Setup {
  readonly users?: readonly string[];
  readonly sites?: readonly string[];
  readonly user_admin?: boolean;
  readonly allowances?: readonly { readonly username: string; readonly action: string; readonly granted?: boolean }[];
  readonly jobs?: readonly { readonly save: string; readonly json: Json }[];
  readonly objects?: readonly { readonly save: string; readonly json: Json }[];
  readonly registries?: boolean;
}

export interface Target {
  readonly url: string;
  readonly admin: { readonly username: string; readonly password: string };
}

export interface Outcome {
  readonly steps: number;
  readonly skipped: number;
  /** One line per difference that counts. */
  readonly differences: readonly string[];
}

/** Sites and users last for the whole server, as they did when the scenarios were recorded. */
export class Replay {
  readonly #target: Target;
  readonly #shared = new Map<string, Json>();
  readonly #tokens = new Map<string, string>();

  constructor(target: Target) {
    this.#target = target;
  }

  async run(scenario: Scenario): Promise<Outcome> {
    const vars = new Map<string, Json>([
      ["run", `r${randomBytes(5).toString("hex")}`],
      ["base", this.#target.url],
      ["host", new URL(this.#target.url).host],
      ["admin_username", this.#target.admin.username],
    ]);
    await this.#setUp(scenario.setup, vars);
    const differences: string[] = [];
    let skipped = 0;
    for (const [index, step] of scenario.steps.entries()) {
      if (step.needs?.some((name) => !vars.has(name))) {
        skipped++;
        continue;
      }
      const found = await this.#step(step, vars);
      differences.push(...found.map((line) => `${scenario.scenario} step ${index} (${step.name ?? ""}): ${line}`));
    }
    return { steps: scenario.steps.length, skipped, differences };
  }

  async #setUp(setup: Setup, vars: Map<string, Json>): Promise<void> {
    for (const name of new Set(["alice", ...(setup.users ?? [])])) await this.#user(name);
    for (const id of setup.sites ?? []) await this.#site(id);
    for (const [key, value] of this.#shared) vars.set(key, value);
    for (const { username, action, granted } of setup.allowances ?? []) {
      const name = substitute(username, vars) as string;
      const query = new URLSearchParams({ username: name, action }).toString();
      if (granted === false) await this.#as("admin", "DELETE", `/admin/allowances?${query}`);
      else await this.#as("admin", "POST", "/admin/allowances", { username: name, action });
    }
    for (const path of ["jobs", "objects"] as const) {
      for (const { save, json } of setup[path] ?? []) {
        const made = await this.#as("site:lab-a", "POST", `/${path}`, substitute(json, vars));
        vars.set(save, (made.json as JsonMap)["id"] ?? null);
      }
    }
  }

  async #user(name: string): Promise<void> {
    if (this.#shared.has(`${name}_password`) || name === this.#target.admin.username) return;
    const password = `${name}-password-1`;
    await this.#as("admin", "POST", "/users", { username: name, password });
    this.#shared.set(`${name}_password`, password);
  }

  async #site(id: string): Promise<void> {
    const name = id.replaceAll("-", "_");
    if (this.#shared.has(`${name}_client_id`)) return;
    await this.#as("user:alice", "POST", "/sites", { id, capability_ids: [] });
    const made = (await this.#as("user:alice", "POST", `/sites/${id}:generateCredentials`)).json as JsonMap;
    this.#shared.set(`${name}_client_id`, made["client_id"] ?? null);
    this.#shared.set(`${name}_client_secret`, made["client_secret"] ?? null);
  }

  async #as(auth: string, method: string, path: string, json?: Json): Promise<Answer> {
    const answer = await this.#send({ method, path, auth, ...(json === undefined ? {} : { json }) }, new Map());
    const harmless = answer.status === 409 || (method === "DELETE" && answer.status === 404);
    if (answer.status >= 300 && !harmless)
      throw new Error(`set-up: ${method} ${path} answered ${answer.status}: ${answer.text}`);
    return answer;
  }

  async #token(auth: string): Promise<string> {
    const known = this.#tokens.get(auth);
    if (known !== undefined) return known;
    const [kind = "", name = ""] = auth.split(":", 2);
    const variable = name.replaceAll("-", "_");
    const form: Record<string, string> =
      kind === "site"
        ? {
            grant_type: "client_credentials",
            client_id: this.#text(`${variable}_client_id`),
            client_secret: this.#text(`${variable}_client_secret`),
          }
        : kind === "admin"
          ? { grant_type: "password", ...this.#target.admin }
          : { grant_type: "password", username: name, password: this.#text(`${name}_password`) };
    const answer = await this.#send({ method: "POST", path: "/token", form }, new Map());
    const token = (answer.json as JsonMap)["access_token"] as string;
    this.#tokens.set(auth, token);
    return token;
  }

  #text(name: string): string {
    return this.#shared.get(name) as string;
  }

  async #send(request: Step["request"], vars: Map<string, Json>): Promise<Answer> {
    const headers: Record<string, string> = { accept: "*/*" };
    let body: string | undefined;
    if (request.json !== undefined) {
      headers["content-type"] = "application/json";
      body = JSON.stringify(substitute(request.json, vars));
    } else if (request.form !== undefined) {
      headers["content-type"] = "application/x-www-form-urlencoded";
      body = new URLSearchParams(substitute(request.form, vars) as Record<string, string>).toString();
    } else if (request.raw !== undefined) {
      body = substitute(request.raw, vars) as string;
    }
    if (request.auth) headers["authorization"] = `Bearer ${await this.#token(request.auth)}`;
    if (request.basic) {
      const [user, password] = substitute([...request.basic], vars) as [string, string];
      headers["authorization"] = `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
    }
    for (const [name, value] of Object.entries(request.headers ?? {})) {
      if (value === null) delete headers[name];
      else headers[name] = substitute(value, vars) as string;
    }
    const path = substitute(request.path, vars) as string;
    const answer = await httpRequest(this.#target.url + path + queryText(request.query, vars), {
      method: request.method as "GET",
      headers,
      ...(body === undefined ? {} : { body }),
    });
    const text = await answer.body.text();
    const plain = Object.fromEntries(Object.entries(answer.headers).map(([name, value]) => [name, String(value)]));
    return { status: answer.statusCode, headers: plain, text, json: parsed(text) };
  }

  async #step(step: Step, vars: Map<string, Json>): Promise<string[]> {
    const answer = await this.#send(step.request, vars);
    if (step.fault && answer.status < 500) return [];
    const differences: string[] = [];
    if (answer.status !== step.response.status) {
      return [`status ${answer.status} instead of ${step.response.status}: ${answer.text.slice(0, 400)}`];
    }
    for (const [name, pointer] of Object.entries(step.save ?? {}))
      vars.set(name, collect(answer.json, pointer) ?? null);
    compareHeaders(step, answer, vars, differences);
    if (step.response.json !== undefined)
      new Comparison(step, vars, differences).compare(step.response.json, answer.json, "");
    for (const pointer of step.absent ?? []) {
      const value = pointed(answer.json, pointer);
      if (value !== undefined && value !== null) differences.push(`${pointer} is there: ${JSON.stringify(value)}`);
    }
    for (const check of step.checks ?? []) differences.push(...failures(check, answer.json, vars));
    return differences;
  }
}

function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

function queryText(query: Readonly<Record<string, Json>> | undefined, vars: Map<string, Json>): string {
  if (!query) return "";
  const pairs = Object.entries(query).map(([name, value]) => {
    const filled = substitute(value, vars);
    return `${encodeURIComponent(name)}=${encodeURIComponent(typeof filled === "string" ? filled : JSON.stringify(filled))}`;
  });
  return `?${pairs.join("&")}`;
}
