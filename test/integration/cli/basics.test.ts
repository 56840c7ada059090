import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { repository, runCli, siteagentBin, startCli } from "../../helpers/cli.ts";
import { Program } from "../../helpers/program.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

async function version(): Promise<string> {
  const text = await readFile(join(repository, "package.json"), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

describe("siteagent", () => {
  test("tells its version in every way", async () => {
    const expected = await version();
    expect(await runCli(["version"])).toMatchObject({ stdout: `siteagent ${expected}\n`, stderr: "", code: 0 });
    expect((await runCli(["--version"])).stdout).toBe(`${expected}\n`);
    expect(JSON.parse((await runCli(["version", "-o", "json"])).stdout)).toMatchObject({
      version: expected,
      node: expect.stringMatching(/^24\./),
    });
  });

  test("shows its help on standard output, with every group", async () => {
    const { stdout, stderr, code } = await runCli([]);
    expect(code).toBe(0);
    expect(stderr).toBe("");
    for (const word of ["Start:", "Jobs:", "Agent on this machine:", "Configuration:", "submit [workflow]"])
      expect(stdout).toContain(word);
  });

  test("helps with commands and topics", async () => {
    expect((await runCli(["help", "outputs", "get"])).stdout).toContain("siteagent outputs get last");
    expect((await runCli(["logs", "--help"])).stdout).toContain("# follow");
    expect((await runCli(["help", "environment"])).stdout).toContain("SITEAGENT_HUB");
    expect(await runCli(["help", "environmnet"])).toMatchObject({
      code: 64,
      stderr: expect.stringContaining("did you mean 'environment'?"),
    });
  });

  test.each([
    [["jbos"], "did you mean 'jobs'?"],
    [["jobs", "--stauts", "x"], "did you mean '--status'?"],
    [["jobs", "-o", "xml"], "Allowed choices"],
    [["outputs"], "needs one of ls, cat, get"],
    [["job"], "missing required argument 'id'"],
    [["-o", "name", "outputs", "cat", "last"], "siteagent help outputs cat tells what there is"],
    [["jobz"], "did you mean 'job' or 'jobs'?"],
    [["job", "a", "b"], "too many arguments"],
    [["jobs", "--limit", "0", "--local"], "--limit '0'"],
    [["completion", "tcsh"], "no completion for 'tcsh'"],
  ])("refuses %j with exit code 64 and a way out", async (args, words) => {
    const { stdout, stderr, code } = await runCli(args);
    expect(code).toBe(64);
    expect(stdout).toBe("");
    expect(stderr).toContain(words);
  });

  test("tells errors as JSON where data is JSON", async () => {
    const byFlag = await runCli(["jbos", "-o", "json"]);
    expect(JSON.parse(byFlag.stderr)).toMatchObject({
      error: { code: "USAGE", exit_code: 64, hint: "did you mean 'jobs'?" },
    });
    await using directory = await temporaryDirectory(); // of its own: a root account would look into /etc
    const env = { SITEAGENT_OUTPUT: "jsonl", SITEAGENT_CONFIG_DIR: directory.path };
    const byVariable = await runCli(["jobs"], { env });
    expect(JSON.parse(byVariable.stderr)).toMatchObject({ error: { code: "USAGE", message: "no hub is named" } });
  });

  test("says how to reach a hub or an agent that is not there", async () => {
    await using directory = await temporaryDirectory();
    const env = { SITEAGENT_RUNTIME_DIR: directory.path };
    const agent = await runCli(["jobs", "--local"], { env });
    expect(agent).toMatchObject({ code: 69, stderr: expect.stringContaining("siteagent run") });
    const hub = await runCli(["jobs", "--hub", "http://127.0.0.1:9"], { env: { SITEAGENT_TOKEN: "x" } });
    expect(hub.code).toBe(69);
    const status = await runCli(["status"], { env });
    expect(status).toMatchObject({ code: 2, stdout: expect.stringContaining("down"), stderr: "" });
    expect(JSON.parse((await runCli(["status", "-o", "json"], { env })).stdout)).toMatchObject({ mode: "down" });
  });

  test("uses ASCII symbols where the locale is not UTF-8", async () => {
    await using directory = await temporaryDirectory();
    const env = { SITEAGENT_RUNTIME_DIR: directory.path, SITEAGENT_CONFIG_DIR: directory.path, LANG: "C" };
    const { stdout } = await runCli(["status"], { env });
    expect(stdout).toMatch(/^x siteagent: down/);
    expect(Buffer.byteLength(stdout)).toBe(stdout.length);
  });

  test("colours only when asked, outside of a terminal", async () => {
    const env = { SITEAGENT_RUNTIME_DIR: "/nowhere", NO_COLOR: undefined };
    expect((await runCli(["status"], { env })).stdout).not.toContain("\u001b[");
    expect((await runCli(["status", "--color", "always"], { env })).stdout).toContain("\u001b[31m");
    expect((await runCli(["status"], { env: { ...env, FORCE_COLOR: "1" } })).stdout).toContain("\u001b[31m");
  });

  test("is quiet when its reader goes away", async () => {
    const child = spawn("/bin/sh", ["-c", '"$0" config schema | head -c 10', siteagentBin], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stderr = "";
    child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
    child.stdout.resume();
    await once(child, "close");
    expect(stderr).toBe("");
  });
});

describe("bin/siteagent", () => {
  test("works through links, with blanks in its path, from anywhere", async () => {
    await using directory = await temporaryDirectory();
    await mkdir(directory.join("a b"));
    await symlink(siteagentBin, directory.join("a b", "first"));
    await symlink(join("a b", "first"), directory.join("second link"));
    await using program = await Program.start(directory.join("second link"), ["version"], {
      cwd: "/",
      env: { PATH: "/usr/bin:/bin" },
    });
    expect(await program.result(20_000)).toMatchObject({ code: 0, stdout: `siteagent ${await version()}\n` });
  });

  test("runs the Node beside it by its path, not the one of PATH", async () => {
    await using directory = await temporaryDirectory();
    const bad = directory.join("node");
    await writeFile(bad, "#!/bin/sh\necho wrong node; exit 1\n", { mode: 0o755 });
    await using program = await Program.start(siteagentBin, ["version", "-o", "json"], {
      env: { PATH: `${directory.path}:/usr/bin:/bin` },
    });
    expect(await program.result(20_000)).toMatchObject({ code: 0, stdout: expect.stringContaining('"node": "24.') });
  });

  test("works from a directory with blanks in its name", async () => {
    await using directory = await temporaryDirectory();
    const root = directory.join("my site agent");
    await mkdir(join(root, "bin"), { recursive: true });
    await cp(siteagentBin, join(root, "bin", "siteagent"));
    await cp(join(repository, "package.json"), join(root, "package.json"));
    for (const name of ["src", "node_modules"]) await symlink(join(repository, name), join(root, name));
    await using program = await Program.start(join(root, "bin", "siteagent"), ["version"], {
      cwd: "/",
      env: { PATH: "/usr/bin:/bin" },
    });
    expect(await program.result(20_000)).toMatchObject({ code: 0, stdout: `siteagent ${await version()}\n` });
  });

  test("refuses another Node with a sentence", async () => {
    await using directory = await temporaryDirectory();
    await mkdir(directory.join("bin"));
    await cp(siteagentBin, directory.join("bin", "siteagent"));
    const old = directory.join("node");
    await writeFile(old, "#!/bin/sh\necho v20.1.0\n", { mode: 0o755 });
    await using program = await Program.start(directory.join("bin", "siteagent"), [], {
      env: { PATH: `${directory.path}:/usr/bin:/bin` },
    });
    expect(await program.result(20_000)).toMatchObject({
      code: 78,
      stderr: expect.stringContaining("Node 24 is needed, v20.1.0 found"),
    });
  });

  test("ends with 130 at Ctrl-C", async () => {
    await using home = await temporaryDirectory();
    await using silent = await silentServer();
    await using program = await startCli(["wait", "nmdc:x", "--hub", silent.url], {
      home: home.path,
      env: { SITEAGENT_TOKEN: "t" },
    });
    await silent.asked;
    program.signal("SIGINT");
    expect(await program.result(10_000)).toMatchObject({ code: 130, signal: undefined });
  });
});

/** Accepts connections and never answers. */
async function silentServer(): Promise<AsyncDisposable & { readonly url: string; readonly asked: Promise<void> }> {
  const { createServer } = await import("node:net");
  const { promise, resolve } = Promise.withResolvers<void>();
  const sockets = new Set<{ destroy(): void }>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("data", () => resolve());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    asked: promise,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
