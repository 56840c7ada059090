import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { Readable } from "node:stream";
import { request } from "undici";
import { describe, expect, test } from "vitest";
import { isFault } from "../../../src/common/fault.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { startHub } from "../../../src/hub/main.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { adminToken, ask, newSite } from "./client.ts";
import { devHub } from "./hubs.ts";

const form = (site: { client_id: string; client_secret: string }) => ({
  grant_type: "client_credentials",
  client_id: site.client_id,
  client_secret: site.client_secret,
});

describe("a development hub", () => {
  test("keeps its credentials in a private file and uses them again", async () => {
    await using directory = await temporaryDirectory();
    const options = { dev: true, dataDir: directory.join("data"), port: 0, log: silentLogger };
    const first = await startHub(options);
    await first.close();
    const file = directory.join("data", "dev-credentials.json");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await stat(directory.join("data"))).mode & 0o777).toBe(0o700);
    const second = await startHub(options);
    try {
      expect([second.admin, second.site]).toEqual([first.admin, first.site]);
      expect(second.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
      if (!second.site || !second.admin) throw new Error("no credentials");
      expect((await ask(second, "POST", "/token", { form: form(second.site) })).status).toBe(200);
      const admin = { grant_type: "password", ...second.admin };
      expect((await ask(second, "POST", "/token", { form: admin })).status).toBe(200);
    } finally {
      await second.close();
    }
  });

  test("accepts the credentials of the file also on an empty database, and says when the file is damaged", async () => {
    await using directory = await temporaryDirectory();
    const credentials = {
      admin: { username: "root", password: "p-1" },
      site: { id: "here", client_id: "sys0abc", client_secret: "s-1" },
    };
    await writeFile(directory.join("dev-credentials.json"), JSON.stringify(credentials));
    const options = { dev: true, dataDir: directory.path, port: 0, log: silentLogger };
    const hub = await startHub(options);
    expect((await ask(hub, "POST", "/token", { form: form(credentials.site) })).status).toBe(200);
    await hub.close();
    await writeFile(directory.join("dev-credentials.json"), "{");
    await expect(startHub(options)).rejects.toSatisfy((error) => isFault(error, "CONFIG"));
  });

  test("refuses a database that another hub holds", async () => {
    await using directory = await temporaryDirectory();
    const options = { dev: true, dataDir: directory.path, port: 0, log: silentLogger };
    const hub = await startHub(options);
    await expect(startHub(options)).rejects.toSatisfy((error) => isFault(error, "ALREADY_RUNNING"));
    await hub.close();
  });

  test("serves its documents, health and features", async () => {
    await using hub = await devHub();
    expect((await ask(hub, "GET", "/")).headers["location"]).toBe(`${hub.url}/docs`);
    expect((await ask(hub, "GET", "/docs")).status).toBe(200);
    expect((await ask(hub, "GET", "/version")).json.siteagent).toMatchObject({ api: "/siteagent/v1/" });
    for (const path of ["/health", "/livez", "/readyz"]) expect((await ask(hub, "GET", path)).status).toBe(200);
    expect((await ask(hub, "GET", "/health")).headers["x-content-type-options"]).toBe("nosniff");
  });
});

describe("a hub in earnest", () => {
  async function earnest(directory: string, more: object = {}) {
    const config = { store: { kind: "sqlite", path: "data/hub.db" }, listen: { port: 0 }, ...more };
    return startHub({ config, configDir: directory, log: silentLogger });
  }

  test("makes an administrator whose password lies in a private file, and asks for tokens", async () => {
    await using directory = await temporaryDirectory();
    const hub = await earnest(directory.path);
    try {
      expect([hub.admin, hub.site]).toEqual([undefined, undefined]);
      const file = directory.join("data", "admin-password");
      expect((await stat(file)).mode & 0o777).toBe(0o600);
      const password = (await readFile(file, "utf8")).trim();
      expect(
        (await ask(hub, "POST", "/token", { form: { grant_type: "password", username: "admin", password } })).status,
      ).toBe(200);
      for (const path of ["/jobs", "/operations", "/objects", "/sites", "/workflows", "/jobs/x"]) {
        expect((await ask(hub, "GET", path)).status, path).toBe(401);
      }
      expect((await ask(hub, "PUT", "/objects/x/types", { json: [] })).status).toBe(401);
      for (const path of ["/health", "/version"]) expect((await ask(hub, "GET", path)).status, path).toBe(200);
    } finally {
      await hub.close();
    }
  });

  test("takes the administrator's password from a file, registries from the configuration and presets by path", async () => {
    await using directory = await temporaryDirectory();
    await mkdir(directory.join("presets"));
    await writeFile(directory.join("secret"), "from-a-file\n", { mode: 0o600 });
    await writeFile(directory.join("presets", "more.yaml"), "workflows: [{id: from-preset}]\n");
    const registries = {
      workflows: [{ id: "wf", name: "W", claims: "exclusive" }],
      object_types: [{ id: "reads" }],
      triggers: [{ object_type: "reads", workflow: "wf" }],
    };
    const options = {
      admin: { username: "boss", password: { file: "secret" } },
      presets: ["presets/more.yaml"],
      compat: { anonymous_reads: true },
    };
    const hub = await earnest(directory.path, { ...registries, ...options });
    try {
      const form = { grant_type: "password", username: "boss", password: "from-a-file" };
      expect((await ask(hub, "POST", "/token", { form })).status).toBe(200);
      expect(((await ask(hub, "GET", "/workflows")).json as { id: string }[]).map((one) => one.id)).toEqual([
        "from-preset",
        "wf",
      ]);
      expect((await ask(hub, "GET", "/triggers/reads--wf")).json).toMatchObject({
        object_type_id: "reads",
        workflow_id: "wf",
      });
    } finally {
      await hub.close();
    }
    const later = await earnest(directory.path, options);
    try {
      expect(((await ask(later, "GET", "/workflows")).json as { id: string }[]).map((one) => one.id)).toEqual([
        "from-preset",
      ]);
    } finally {
      await later.close();
    }
  });

  test("names every fault of its settings", async () => {
    await using directory = await temporaryDirectory();
    const bad = earnest(directory.path, { colour: 1, limits: { body: "big" }, listen: { port: 70_000 } });
    await expect(bad).rejects.toThrow(/listen\.port.*limits\.body.*'?colour/s);
  });
});

describe("limits", () => {
  test("a body above the limit is a 413, too many requests of one client a 429, in the common shape", async () => {
    await using hub = await devHub({ config: { limits: { body: "2KiB", requests_per_minute: 30 } } });
    const site = await newSite(hub, "lab-a");
    const large = await ask(hub, "POST", "/jobs", {
      token: site.token,
      json: { workflow: { id: "w" }, config: { text: "x".repeat(4_000) } },
    });
    expect([large.status, large.json.code, typeof large.json.detail]).toEqual([413, "TOO_LARGE", "string"]);
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => ask(hub, "POST", "/jobs/nmdc:none:claim", { token: site.token })),
    );
    const limited = answers.filter((answer) => answer.status === 429);
    expect(limited.length).toBeGreaterThan(5);
    expect(limited[0]?.json).toMatchObject({ code: "RATE_LIMITED", retry: "later", detail: expect.any(String) });
    expect(Number(limited[0]?.headers["retry-after"])).toBeGreaterThan(0);
    const admin = await adminToken(hub);
    expect((await ask(hub, "GET", "/users/me", { token: admin })).status).toBe(200);
    expect((await ask(hub, "GET", "/livez")).status).toBe(200);
  });

  test("requests that get nowhere are counted too: bad tokens, unknown paths, bodies that do not fit", async () => {
    await using hub = await devHub({ config: { limits: { requests_per_minute: 5 } } });
    const kinds = [
      () => ask(hub, "POST", "/jobs", { token: "garbage", json: {} }),
      () => ask(hub, "GET", "/nowhere"),
      () => ask(hub, "GET", "/jobs", { query: { max_page_size: "many" } }),
    ];
    const answers = await Promise.all(Array.from({ length: 20 }, () => kinds.map((send) => send())).flat());
    const limited = answers.filter((answer) => answer.status === 429);
    expect(limited).toHaveLength(10);
    expect(limited[0]?.json).toMatchObject({ code: "RATE_LIMITED", detail: expect.any(String) });
    expect(Number(limited[0]?.headers["retry-after"])).toBeGreaterThan(0);
    for (const path of ["/livez", "/readyz", "/health"]) expect((await ask(hub, "GET", path)).status, path).toBe(200);
  });

  test("a development hub and a limit of 0 count no requests", async () => {
    await using hub = await devHub();
    expect(hub.ctx.config.limits.requests_per_minute).toBe(0);
    expect((await ask(hub, "GET", "/version")).headers).not.toHaveProperty("x-ratelimit-limit");
    await using limited = await devHub({ config: { limits: { requests_per_minute: 30 } } });
    expect((await ask(limited, "GET", "/version")).headers).toMatchObject({ "x-ratelimit-limit": "30" });
  });

  test("a body above the limit that does not tell its length is refused too, and the hub goes on", async () => {
    await using hub = await devHub({ config: { limits: { body: "2KiB" } } });
    const site = await newSite(hub, "lab-a");
    const headers = { authorization: `Bearer ${site.token}`, "content-type": "application/json" };
    const body = Readable.from(Array.from({ length: 8 }, () => Buffer.alloc(1_024, " ")));
    const answer = await request(`${hub.url}/jobs`, { method: "POST", headers, body });
    expect(answer.statusCode).toBe(413);
    expect(await answer.body.json()).toMatchObject({ code: "TOO_LARGE", status: 413, detail: expect.any(String) });
    expect((await ask(hub, "GET", "/health")).status).toBe(200);
  });

  test("who asks for problem documents gets them", async () => {
    await using hub = await devHub();
    const headers = { accept: "application/problem+json" };
    const text = await ask(hub, "GET", "/jobs/nmdc:none", { headers });
    expect(text.headers["content-type"]).toMatch(/^application\/problem\+json/);
    expect(text.json).toMatchObject({
      type: "about:blank",
      title: "Not Found",
      status: 404,
      detail: "Not found",
      code: "NOT_FOUND",
      retry: "never",
    });
    const list = await ask(hub, "GET", "/jobs", { headers, query: { max_page_size: "many" } });
    expect(typeof list.json.detail).toBe("string");
    expect(list.json.errors[0]).toMatchObject({ type: "int_parsing", loc: ["query", "max_page_size"] });
  });

  test("text that no store can keep, and endless nesting, are refused with a reason", async () => {
    await using hub = await devHub();
    const site = await newSite(hub, "lab-a");
    const post = (raw: string) =>
      ask(hub, "POST", "/jobs", { token: site.token, raw, headers: { "content-type": "application/json" } });
    for (const config of [
      String.raw`{"a": "x\u0000"}`,
      String.raw`{"a\u0000": 1}`,
      String.raw`{"a": "\ud800"}`,
      `{"a": ${"[".repeat(5_000)}${"]".repeat(5_000)}}`,
    ]) {
      const answer = await post(`{"workflow": {"id": "w"}, "config": ${config}}`);
      expect(answer.status, config.slice(0, 40)).toBe(422);
    }
  });
});
