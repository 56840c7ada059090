import { chmod, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { CallContext } from "../../../src/common/context.ts";
import { newToken, type Token } from "../../../src/common/token.ts";
import { createGlobusTransfer } from "../../../src/transfer/globus/index.ts";
import type { GlobusSettings } from "../../../src/transfer/globus/types.ts";
import { compilePolicy } from "../../../src/transfer/policy.ts";
import type { FoundFile, RemoteFile, TransferAdapter } from "../../../src/transfer/types.ts";
import { cleanEnvironment } from "../../helpers/cli.ts";
import { GlobusServer, ids, refusal } from "../../helpers/globus/server.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { Program } from "../../helpers/program.ts";
import { answerLost } from "../../helpers/scripted-server.ts";
import { waitFor } from "../../helpers/wait.ts";
import type { GlobusChildTask } from "./globus-child.ts";
import {
  digestTree,
  impatientClock,
  item,
  namesBelow,
  request,
  sha256,
  startEngine,
  testContext,
  writeTree,
} from "./setup.ts";

failOnLeakedProcesses();

const far = `globus://${ids.far}/data`;
const submit = "POST /v0.10/transfer";

interface Rig extends AsyncDisposable {
  readonly server: GlobusServer;
  readonly settings: GlobusSettings;
  readonly adapter: TransferAdapter;
  readonly token: Token;
  /** Local, below the site's collection. */
  readonly arrivals: string;
  fetch(files: readonly RemoteFile[], context?: CallContext): Promise<readonly string[]>;
  list(): Promise<readonly RemoteFile[]>;
  send(files: Readonly<Record<string, string>>): Promise<Readonly<Record<string, FoundFile>>>;
  notes(): Promise<readonly string[]>;
}

/** Two collections; `far` holds `tree` below data/. */
async function rig(tree: Readonly<Record<string, string>> = {}, credentials?: object): Promise<Rig> {
  const server = await GlobusServer.start();
  const { directory } = server;
  await mkdir(directory.join("far/data"), { recursive: true });
  const arrivals = directory.join("site/job/in/.arrivals");
  await mkdir(arrivals, { recursive: true });
  await writeTree(directory.join("far/data"), tree);
  const settings = await server.settings(credentials);
  const rules = [`globus://${ids.far}/data/`];
  const policy = compilePolicy({ sources: rules, destinations: rules });
  const adapter = createGlobusTransfer({ policy, globus: settings, pace: { firstMs: 1, longestMs: 1 } });
  const token = newToken();
  const { bulk } = adapter;
  if (!bulk) throw new Error("no bulk");
  return {
    server,
    settings,
    adapter,
    token,
    arrivals,
    list: () => adapter.list(far, "directory", testContext()),
    fetch: async (files, context = testContext()) => {
      const come: string[] = [];
      const arrived = async ({ path }: RemoteFile): Promise<void> => void come.push(path);
      await bulk.fetch(far, files, arrivals, arrived, context, { token });
      return come.toSorted();
    },
    send: async (files) => {
      const found: Record<string, FoundFile> = {};
      await writeTree(directory.join("site/job/work"), files);
      const outputs = Object.entries(files).map(([path, text]) => ({
        path,
        localPath: directory.join("site/job/work", path),
        root: directory.join("site/job/work"),
        bytes: Buffer.byteLength(text),
        sha256: sha256(Buffer.from(text)),
        mtimeMs: 0,
        open: () => Promise.reject(new Error("not this way")),
      }));
      await bulk.send(
        `${far}/out`,
        outputs,
        { token },
        async ({ path }, seen) => void (found[path] = seen),
        testContext(),
      );
      return found;
    },
    notes: () => readdir(settings.notes).catch(() => []),
    [Symbol.asyncDispose]: async () => {
      await adapter[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

describe("listings", () => {
  test("files, directories and globs with sizes and times; what is not there is missing", async () => {
    await using place = await rig({ "a.txt": "aa", "b.bin": "b", "sub/c.txt": "ccc" });
    const { adapter } = place;
    expect(await adapter.list(`${far}/a.txt`, "file", testContext())).toMatchObject([{ path: "", bytes: 2 }]);
    const all = await place.list();
    expect(Object.fromEntries(all.map(({ path, bytes }) => [path, bytes]))).toEqual({
      "a.txt": 2,
      "b.bin": 1,
      "sub/c.txt": 3,
    });
    expect(all[0]?.version).toBeDefined();
    const glob = await adapter.list(`${far}/*.txt`, "glob", testContext());
    expect(glob.map(({ path }) => path)).toEqual(["a.txt"]);
    for (const [url, kind] of [
      [`${far}/none`, "file"],
      [`${far}/none`, "directory"],
    ] as const) {
      const fault = { code: "TRANSFER_REFUSED", details: { missing: true } };
      await expect(adapter.list(url, kind, testContext())).rejects.toMatchObject(fault);
    }
    await expect(adapter.list(`${far}/a.txt`, "directory", testContext())).rejects.toMatchObject({
      code: "TRANSFER_REFUSED",
      message: expect.stringContaining("NotDirectory"),
    });
  });

  test("F8: a link that leads out of what the policy names is refused, one inside is followed", async () => {
    await using place = await rig({ "a.txt": "aa", "sub/x": "x" });
    const { directory } = place.server;
    await symlink("../a.txt", directory.join("far/data/sub/in"));
    expect((await place.list()).map(({ path }) => path).toSorted()).toEqual(["a.txt", "sub/in", "sub/x"]);
    await symlink("../../../secret", directory.join("far/data/sub/out"));
    await writeFile(directory.join("secret"), "s");
    await expect(place.list()).rejects.toMatchObject({ code: "UNSAFE_PATH" });
  });
});

describe("moving", () => {
  test("files come by one task that Globus verifies; no note stays", async () => {
    await using place = await rig({ "a.txt": "aa", "sub/c.txt": "ccc", empty: "" });
    expect(await place.fetch(await place.list())).toEqual(["a.txt", "empty", "sub/c.txt"]);
    expect(await digestTree(place.arrivals)).toEqual(await digestTree(place.server.directory.join("far/data")));
    expect(place.server.tasks).toHaveLength(1);
    expect(place.server.tasks[0]?.document).toMatchObject({
      label: `siteagent ${place.token} in`,
      source_endpoint: ids.far,
      destination_endpoint: ids.own,
      verify_checksum: true,
      encrypt_data: false,
      sync_level: 3,
    });
    expect(await place.notes()).toEqual([]);
  });

  test("files go, and what lies there is told by size alone", async () => {
    await using place = await rig();
    expect(await place.send({ "r.txt": "result", "sub/s": "" })).toEqual({
      "r.txt": { bytes: 6, sha256: undefined },
      "sub/s": { bytes: 0, sha256: undefined },
    });
    expect(await readFile(place.server.directory.join("far/data/out/r.txt"), "utf8")).toBe("result");
    const verified = await place.adapter.verify(`${far}/out/r.txt`, testContext());
    expect(verified).toEqual({ bytes: 6, sha256: undefined });
    expect(await place.adapter.verify(`${far}/out/none`, testContext())).toBeUndefined();
  });

  test("F6: a source that changed since it was listed is not handed over", async () => {
    await using place = await rig({ a: "aa", b: "bb" });
    const files = await place.list();
    await writeFile(place.server.directory.join("far/data/b"), "longer");
    const come: string[] = [];
    const arrived = async ({ path }: RemoteFile): Promise<void> => void come.push(path);
    const { token, arrivals } = place;
    const call = place.adapter.bulk?.fetch(far, files, arrivals, arrived, testContext(), { token });
    await expect(call).rejects.toMatchObject({ code: "TRANSFER", details: { source_changed: true } });
    expect(come).toEqual(["a"]);
    expect(await place.notes()).toEqual([]);
  });

  test("of a task that fails, what it brought is handed over, and the reason is said", async () => {
    await using place = await rig({ a: "a", b: "b", c: "c", d: "d" });
    place.server.failing.set("d", "PERMISSION_DENIED");
    const files = await place.list();
    const come: string[] = [];
    const arrived = async ({ path }: RemoteFile): Promise<void> => void come.push(path);
    const { token, arrivals } = place;
    const call = place.adapter.bulk?.fetch(far, files, arrivals, arrived, testContext(), { token });
    await expect(call).rejects.toMatchObject({
      code: "TRANSFER",
      message: expect.stringContaining("PERMISSION_DENIED"),
      details: { globus_code: "PERMISSION_DENIED" },
    });
    expect(come.toSorted()).toEqual(["a", "b", "c"]);
    place.server.failing.clear();
    expect(await place.fetch(files.filter(({ path }) => path === "d"))).toEqual(["d"]);
    expect(place.server.tasks[1]?.document.DATA).toHaveLength(1);
  });

  test("a directory that globus.paths does not name is refused before anything is submitted", async () => {
    await using place = await rig({ a: "a" });
    const [{ token }, files] = [place, await place.list()];
    const call = place.adapter.bulk?.fetch(far, files, "/elsewhere/in", async () => {}, testContext(), { token });
    await expect(call).rejects.toMatchObject({
      code: "TRANSFER_REFUSED",
      message: expect.stringContaining("globus.paths"),
    });
    expect(place.server.tasks).toEqual([]);
  });
});

describe("one transfer, whatever happens", () => {
  test("an answer to a submission that is lost is asked for again: the same submission", async () => {
    await using place = await rig({ a: "a" });
    const files = await place.list();
    place.server.http.next(submit, answerLost(place.server.http.lasting(submit)));
    await expect(place.fetch(files)).rejects.toMatchObject({ code: "TRANSFER" });
    expect(place.server.tasks).toHaveLength(1);
    expect(await place.notes()).toHaveLength(1);
    expect(await place.fetch(files)).toEqual(["a"]);
    expect(place.server.tasks).toHaveLength(1);
    expect(place.server.http.received(submit)).toHaveLength(2);
    expect(await place.notes()).toEqual([]);
  });

  test("one that never came there is submitted by the next call", async () => {
    await using place = await rig({ a: "a" });
    const files = await place.list();
    place.server.http.next(submit, refusal(503, "ServiceUnavailable", "down for maintenance"));
    await expect(place.fetch(files)).rejects.toMatchObject({ code: "TRANSFER" });
    expect(await place.fetch(files)).toEqual(["a"]);
    expect(place.server.tasks).toHaveLength(1);
  });

  test("one that is refused by now, or whose task is known no more, is submitted anew", async () => {
    await using place = await rig({ a: "a" });
    const { http, tasks } = place.server;
    const files = await place.list();
    http.next(submit, refusal(503, "ServiceUnavailable", "down"));
    http.next(submit, refusal(400, "ClientError.BadRequest", "the deadline has passed"));
    await expect(place.fetch(files)).rejects.toMatchObject({ code: "TRANSFER" });
    expect(await place.fetch(files)).toEqual(["a"]);
    http.next(submit, answerLost(http.lasting(submit)));
    await expect(place.fetch(files)).rejects.toMatchObject({ code: "TRANSFER" });
    http.next("GET /v0.10/task/*", refusal(404, "ClientError.NotFound", "no such task"));
    expect(await place.fetch(files)).toEqual(["a"]);
    expect(tasks).toHaveLength(3);
    expect(await place.notes()).toEqual([]);
  });

  test("an aborted call leaves the task; the next one follows it, also for a part of its files", async () => {
    await using place = await rig({ a: "a", b: "b" });
    place.server.idleLooks = 1e9;
    const files = await place.list();
    const stopper = new AbortController();
    const first = place.fetch(files, testContext({ signal: stopper.signal, clock: impatientClock() }));
    await waitFor(() => place.server.tasks.length === 1, { what: "a task" });
    stopper.abort();
    await expect(first).rejects.toMatchObject({ code: "CANCELLED" });
    const [task] = place.server.tasks;
    expect(task?.status).toBe("ACTIVE");
    if (task) task.idleLooks = 0;
    expect(await place.fetch(files.filter(({ path }) => path === "b"))).toEqual(["b"]);
    expect(place.server.tasks).toHaveLength(1);
  });

  test("a task that would bring an older version is ended before the new one is submitted", async () => {
    await using place = await rig({ a: "a" });
    place.server.http.next(submit, answerLost(place.server.http.lasting(submit)));
    place.server.idleLooks = 1e9;
    await expect(place.fetch(await place.list())).rejects.toMatchObject({ code: "TRANSFER" });
    await writeFile(place.server.directory.join("far/data/a"), "new content");
    place.server.idleLooks = 0;
    expect(await place.fetch(await place.list())).toEqual(["a"]);
    expect(place.server.tasks.map(({ status }) => status)).toEqual(["FAILED", "SUCCEEDED"]);
    expect(await readFile(join(place.arrivals, "a"), "utf8")).toBe("new content");
  });

  test("a job that needs it no more ends its task, also one whose submission was never answered", async () => {
    await using place = await rig({ a: "a" });
    place.server.idleLooks = 1e9;
    place.server.http.next(submit, answerLost(place.server.http.lasting(submit)));
    await expect(place.fetch(await place.list())).rejects.toMatchObject({ code: "TRANSFER" });
    await place.adapter.abandon?.(newToken(), testContext());
    expect(place.server.tasks.map(({ status }) => status)).toEqual(["ACTIVE"]);
    const cancel = `POST /v0.10/task/${place.server.tasks[0]?.id}/cancel`;
    place.server.http.next(cancel, refusal(503, "ServiceUnavailable", "not now"));
    await expect(place.adapter.abandon?.(place.token, testContext())).rejects.toMatchObject({ code: "TRANSFER" });
    // Noted: the end of any other job tries it again.
    await place.adapter.abandon?.(newToken(), testContext());
    expect(place.server.tasks.map(({ status }) => status)).toEqual(["FAILED"]);
    expect(await place.notes()).toEqual([]);
  });

  async function child(task: GlobusChildTask): Promise<Program> {
    const { directory } = task;
    return await Program.start(process.execPath, [join(import.meta.dirname, "globus-child.ts"), JSON.stringify(task)], {
      env: cleanEnvironment(directory),
      cwd: directory,
      input: "",
    });
  }

  test.each(["before its answer", "while it goes on"])(
    "B11: killed after the submission, %s: one transfer",
    async (when) => {
      await using place = await rig({ a: "a", "sub/b": "b" });
      const { server, settings, token, arrivals } = place;
      server.idleLooks = 1e9;
      if (when === "before its answer") {
        const real = server.http.lasting(submit);
        server.http.next(submit, async (received, response) => {
          const end = response.end.bind(response);
          response.writeHead = () => response;
          response.end = () => response; // taken, and never answered
          await real(received, response);
          response.once("close", () => end());
        });
      }
      const task = { settings, url: far, directory: arrivals, token };
      await using first = await child(task);
      const looked = (): boolean =>
        server.http.requests.some(({ method, path }) => method === "GET" && path.startsWith("/v0.10/task/"));
      const ready = (): boolean => server.tasks.length === 1 && (when === "before its answer" || looked());
      await waitFor(ready, { what: "the task" });
      first.signal("SIGKILL");
      await first.finished;
      const [made] = server.tasks;
      if (made) made.idleLooks = 0;
      await using second = await child(task);
      await second.result(60_000);
      expect(second.stdout.split("\n").toSorted()).toEqual(["", "arrived a", "arrived sub/b", "done"]);
      expect(server.tasks).toHaveLength(1);
      expect(Object.keys(await digestTree(arrivals))).toEqual(["a", "sub/b"]);
      expect(await place.notes()).toEqual([]);
    },
  );
});

describe("credentials", () => {
  test("a token is renewed before its end, and once when it is refused", async () => {
    await using place = await rig({ a: "a" });
    let now = 0;
    const clock = { ...impatientClock(), monotonic: () => now };
    const ask = (): Promise<unknown> => place.adapter.list(`${far}/a`, "file", testContext({ clock }));
    await Promise.all([ask(), ask(), ask()]);
    expect(place.server.tokens).toHaveLength(1);
    now = 3_479_000;
    await ask();
    expect(place.server.tokens).toHaveLength(1);
    now = 3_481_000;
    await ask();
    expect(place.server.tokens).toHaveLength(2);
    place.server.expireTokens();
    await ask();
    expect(place.server.tokens).toHaveLength(3);
    const call = `GET /v0.10/operation/endpoint/${ids.far}/stat`;
    place.server.http.next(
      call,
      refusal(401, "AuthenticationFailed", "no"),
      refusal(401, "AuthenticationFailed", "no"),
    );
    await expect(ask()).rejects.toMatchObject({ code: "UNREACHABLE", details: { why: "login" } });
  });

  test("client credentials; what is refused, unreadable or open to others is said without its content", async () => {
    await using place = await rig({ a: "a" }, { client_id: "client-1", client_secret: "secret-1" });
    const ask = (): Promise<unknown> => place.adapter.list(`${far}/a`, "file", testContext());
    await ask();
    expect(place.server.tokens).toHaveLength(1);
    const { path } = place.settings.credentials;
    place.server.expireTokens();
    await writeFile(path, JSON.stringify({ client_id: "client-1", refresh_token: "old-and-secret" }));
    await expect(ask()).rejects.toMatchObject({
      code: "UNREACHABLE",
      details: { why: "login" },
      message: expect.not.stringContaining("old-and-secret"),
    });
    await writeFile(path, JSON.stringify({ client_id: "client-1" }));
    await expect(ask()).rejects.toMatchObject({ code: "SECRET" });
    await writeFile(path, "{half-a-secret");
    await expect(ask()).rejects.toMatchObject({
      code: "SECRET",
      message: expect.not.stringContaining("half-a-secret"),
    });
    await chmod(path, 0o644);
    await expect(ask()).rejects.toMatchObject({ code: "SECRET", message: expect.stringContaining("0644") });
  });
});

describe("refusals", () => {
  test.each([
    [404, "ClientError.NotFound", "TRANSFER_REFUSED", { missing: true }],
    [404, "NotFound", "TRANSFER_REFUSED", { missing: true }],
    [403, "EndpointPermissionDenied", "TRANSFER_REFUSED", {}],
    [502, "ExternalError.DirListingFailed.PermissionDenied", "TRANSFER_REFUSED", {}],
    [400, "ClientError.BadRequest", "TRANSFER_REFUSED", {}],
    [403, "ConsentRequired", "UNREACHABLE", { why: "login" }],
    [502, "ExternalError.DirListingFailed.LoginFailed", "UNREACHABLE", { why: "login" }],
    [502, "EndpointError", "TRANSFER", { globus_code: "EndpointError", request_id: "Req1" }],
    [502, "ExternalError.DirListingFailed.GCDisconnected", "TRANSFER", {}],
    [503, "ServiceUnavailable", "TRANSFER", { retry_after_ms: 7000 }],
    [429, "TooManyRequests", "TRANSFER", { retry_after_ms: 7000 }],
    [409, "Conflict", "TRANSFER", {}],
  ])("%i %s is %s", async (status, code, expected, details) => {
    await using place = await rig({ a: "a" });
    const headers = status === 429 || status === 503 ? { "retry-after": "7" } : {};
    const call = `GET /v0.10/operation/endpoint/${ids.far}/ls`;
    place.server.http.next(call, refusal(status, code, "Words of the server\nwith details", headers));
    await expect(place.list()).rejects.toMatchObject({ code: expected, details });
  });

  test("a service that does not want to be asked so often is asked later; the task is not given up", async () => {
    await using place = await rig({ a: "a" });
    const files = await place.list();
    place.server.http.next("GET /v0.10/task/*", refusal(429, "TooManyRequests", "slow down", { "retry-after": "7" }));
    place.server.http.next("GET /v0.10/task/*", refusal(502, "BadGateway", ""));
    const clock = impatientClock();
    expect(await place.fetch(files, testContext({ clock }))).toEqual(["a"]);
    expect(clock.waits).toContain(7000);
    expect(place.server.tasks).toHaveLength(1);
  });

  test("a suspended task waits for a person", async () => {
    await using place = await rig({ a: "a" });
    place.server.idleLooks = 1e9;
    const files = await place.list();
    const call = place.fetch(files);
    await waitFor(() => place.server.tasks.length === 1, { what: "a task" });
    const [task] = place.server.tasks;
    if (task) task.status = "INACTIVE";
    await expect(call).rejects.toMatchObject({ code: "UNREACHABLE", details: { why: "login" } });
    if (task) Object.assign(task, { status: "ACTIVE", idleLooks: 0 });
    expect(await place.fetch(files)).toEqual(["a"]);
    expect(place.server.tasks).toHaveLength(1);
  });

  test("without a collection of its own a site says so", async () => {
    const policy = compilePolicy({ sources: [`globus://${ids.far}/`], destinations: [] });
    await using adapter = createGlobusTransfer({ policy });
    await expect(adapter.list(far, "file", testContext())).rejects.toMatchObject({ code: "TRANSFER_REFUSED" });
    expect(await adapter.probe(testContext())).toMatchObject({ ok: false });
  });
});

describe("through the engine", () => {
  test("a tree comes and goes, compared by size, and nothing but the files stays", async () => {
    const tree = { "a.txt": "aa", "sub/c.txt": "ccc", empty: "" };
    await using place = await rig(tree);
    const { server, adapter } = place;
    const rules = [`globus://${ids.far}/`];
    await using engine = startEngine({ policy: { sources: rules, destinations: rules }, adapters: [adapter] });
    const root = server.directory.join("site/job/in");
    const items = [item({ kind: "directory", source: far, target: "reads" })];
    const one = [item({ name: "one", source: `${far}/a.txt`, target: "one.txt" })];
    const staged = await engine.run(request({ direction: "in", root, items: [...items, ...one] }), testContext());
    const found = staged.manifest.map(({ path, verified, url }) => [path, verified, url]);
    expect(found).toEqual([
      ["one.txt", "size", `${far}/a.txt`],
      ["reads/a.txt", "size", `${far}/a.txt`],
      ["reads/empty", "size", `${far}/empty`],
      ["reads/sub/c.txt", "size", `${far}/sub/c.txt`],
    ]);
    expect(await readFile(join(root, "reads/sub/c.txt"), "utf8")).toBe("ccc");
    expect((await namesBelow(root)).filter((name) => name.includes(".part-"))).toEqual([]);

    await writeTree(server.directory.join("site/job/work"), { "r/x": "result" });
    const outputs = [item({ kind: "directory", source: "r", target: `${far}/out/` })];
    const work = server.directory.join("site/job/work");
    const sent = await engine.run(request({ direction: "out", root: work, items: outputs }), testContext());
    expect(sent.manifest).toMatchObject([{ path: "r/x", bytes: 6, verified: "size", sha256: sha256("result") }]);
    expect(await readFile(server.directory.join("far/data/out/x"), "utf8")).toBe("result");
    expect(await place.notes()).toEqual([]);
  });

  test("F7: a promised digest that the copy does not have fails the input", async () => {
    await using place = await rig({ a: "altered" });
    await using engine = startEngine({
      policy: { sources: [`globus://${ids.far}/`], destinations: [] },
      adapters: [place.adapter],
    });
    const root = place.server.directory.join("site/job/in");
    const items = [item({ source: `${far}/a`, target: "a", expectedSha256: sha256("promised") })];
    const run = engine.run(request({ direction: "in", root, items }), testContext());
    await expect(run).rejects.toMatchObject({ code: "DIGEST_MISMATCH" });
    expect(Object.keys(await digestTree(root)).filter((name) => !name.startsWith("."))).toEqual([]);
  });
});
