import { existsSync, readdirSync, statSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { userInfo } from "node:os";
import { expect, it } from "vitest";
import type { CallContext } from "../../../src/common/context.ts";
import { isFault } from "../../../src/common/fault.ts";
import { shell } from "../../../src/conformance/host/commands.ts";
import { callContext } from "../../../src/conformance/suite.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { SshServer } from "../../helpers/engines/ssh-server.ts";
import { FaultProxy } from "../../helpers/fault-proxy.ts";
import { freePort } from "../../helpers/free-port.ts";
import { isAlive } from "../../helpers/processes.ts";
import { waitFor } from "../../helpers/wait.ts";
import { hasty, hostBy, type SshHarness, sshHarness } from "./ssh-harness.ts";

const account = userInfo().username;

function tried({ host, root }: SshHarness, script: string, context: CallContext = callContext()): Promise<unknown> {
  return host.run(shell(root, script), context).then(
    ({ stdout }) => stdout,
    (error: unknown) => error,
  );
}

/** Until a connection is there again: the wait after a failure is short at first, and random. */
async function untilIn(harness: SshHarness): Promise<void> {
  await waitFor(async () => (await tried(harness, "echo in")) === "in\n", { what: "a connection", timeoutMs: 30_000 });
}

async function pidIn(path: string): Promise<number> {
  return waitFor(async () => Number(await readFile(path, "utf8")), { what: `a pid in ${path}`, timeoutMs: 30_000 });
}

const lost = expect.objectContaining({
  code: "UNREACHABLE",
  details: { why: "network", started: "unknown" },
}) as unknown;

const notAsked = expect.objectContaining({
  code: "UNREACHABLE",
  details: expect.objectContaining({ started: "no" }) as unknown,
}) as unknown;

describeWithEngine("sshd", "a connection by SSH", () => {
  it("is one for all commands and files", async () => {
    await using harness = await sshHarness();
    const { host, server } = harness;
    await Promise.all(
      Array.from({ length: 6 }, async (_, index) => {
        await tried(harness, `echo ${index}`);
        await host.files.write(`${host.workdir}/f${index}`, "x", { mode: 0o600 }, callContext()).catch(() => undefined);
      }),
    );
    expect(server.log.match(/Accepted publickey/g)).toHaveLength(1);
  });

  it("is lost in the middle of a command: no exit code is told, the command is ended there, and the next one works", async () => {
    await using harness = await sshHarness();
    const { server, root } = harness;
    const running = tried(harness, "echo $$ > pid; sleep 300");
    const pid = await pidIn(`${root}/pid`);
    server.cutConnections();
    expect(await running).toEqual(lost);
    await waitFor(() => !isAlive(pid), { what: "the command to be ended at the other end" });
    await untilIn(harness);
  });

  it("F3: is lost in the middle of a file: no partial file has the final name", async () => {
    await using harness = await sshHarness();
    const { host, server } = harness;
    await using proxy = await FaultProxy.start(server.port);
    await writeFile(server.knownHosts, await server.knownLine("ed25519", `[127.0.0.1]:${proxy.port}`));
    await using slow = hostBy(server, server.settings({ port: proxy.port }));
    await slow.host.files.mkdir(host.workdir, {}, callContext());
    await writeFile(`${host.workdir}/f`, "old");
    const content = Buffer.alloc(100_000_000);
    const writing = slow.host.files.write(`${host.workdir}/f`, content, { mode: 0o600 }, callContext());
    const outcome = expect(writing).rejects.toMatchObject({ code: "UNREACHABLE" });
    const partial = (): number =>
      readdirSync(host.workdir)
        .filter((name) => name !== "f")
        .reduce((sum, name) => sum + statSync(join(host.workdir, name)).size, 0);
    await waitFor(() => partial() > 0, { what: "the first bytes of the file", intervalMs: 1 });
    proxy.resetAll();
    await outcome;
    expect(await readFile(`${host.workdir}/f`, "utf8")).toBe("old");
  });

  it("is made again when the server was away, with a wait between attempts in which nobody is asked", async () => {
    await using harness = await sshHarness();
    const { server } = harness;
    await untilIn(harness);
    await server.down();
    const faults = await Promise.all(Array.from({ length: 50 }, () => tried(harness, "echo in")));
    for (const fault of faults) expect(fault).toEqual(expect.objectContaining({ code: "UNREACHABLE" }));
    await server.up();
    await untilIn(harness);
    expect(server.log.match(/Accepted publickey/g)).toHaveLength(2);
  });

  it("that goes silent is given up after unanswered keepalives", async () => {
    await using server = await SshServer.start();
    await using proxy = await FaultProxy.start(server.port);
    await writeFile(server.knownHosts, await server.knownLine("ed25519", `[127.0.0.1]:${proxy.port}`));
    await using harness = hostBy(server, server.settings({ port: proxy.port, keepaliveMs: 100 }));
    const running = tried(harness, "echo $$ > pid; sleep 300");
    const pid = await pidIn(`${harness.root}/pid`);
    proxy.fault = { kind: "black-hole" };
    expect(await running).toEqual(lost);
    server.cutConnections();
    await waitFor(() => !isAlive(pid), { what: "the command to be ended at the other end" });
  });

  it("F11: tries every login node, a dead one first, and stays with the one that works", async () => {
    await using harness = await sshHarness({}, () => ({ hosts: ["127.0.0.9", "no.such.host.invalid", "127.0.0.1"] }));
    expect(await tried(harness, "echo in")).toBe("in\n");
    harness.server.cutConnections();
    await untilIn(harness);
  });

  it("names all login nodes and reasons when none works", async () => {
    const port = await freePort();
    await using server = await SshServer.start();
    await using harness = hostBy(server, server.settings({ hosts: ["127.0.0.1", "no.such.host.invalid"], port }));
    const fault = await tried(harness, "echo in");
    expect(fault).toEqual(notAsked);
    expect(String(fault)).toMatch(/127\.0\.0\.1.*ECONNREFUSED.*no\.such\.host\.invalid/);
  });

  it("refuses what is no SSH server, and one that says nothing", async () => {
    const greeter = createServer((socket) =>
      socket
        .on("error", () => {})
        .resume()
        .end("HTTP/1.1 400 Bad Request\r\n\r\n"),
    );
    await new Promise<void>((resolve) => greeter.listen(0, "127.0.0.1", resolve));
    try {
      const address = greeter.address();
      const port = typeof address === "object" && address ? address.port : 0;
      await using server = await SshServer.start();
      await using harness = hostBy(server, server.settings({ port }));
      expect(await tried(harness, "echo in")).toEqual(notAsked);
    } finally {
      await new Promise((resolve) => greeter.close(resolve));
    }
  });

  it("leads through jump hosts, each with its own key check", async () => {
    await using first = await SshServer.start();
    await using second = await SshServer.start();
    await using server = await SshServer.start();
    const key = server.userKey;
    for (const one of [first, second]) await one.allow(key);
    const lines = await Promise.all([first, second, server].map((one) => one.knownLine()));
    await writeFile(server.knownHosts, lines.join(""));
    const jump = [`${account}@127.0.0.1:${first.port}`, `127.0.0.1:${second.port}`];
    await using harness = hostBy(server, server.settings({ jump }));
    expect(await tried(harness, "echo in")).toBe("in\n");
    for (const one of [first, second, server]) expect(one.log.match(/Accepted publickey/g)).toHaveLength(1);

    await writeFile(server.knownHosts, [lines[0], lines[2]].join(""));
    await using distrusting = hostBy(server, server.settings({ jump }));
    const fault = await tried(distrusting, "echo in");
    expect(fault).toMatchObject({ details: { why: "host-key" } });
    expect(String(fault)).toContain(second.name);

    second.cutConnections();
    await writeFile(server.knownHosts, lines.join(""));
    await untilIn(harness);
  });

  it("follows ProxyJump, HostName and Port of the account's configuration", async () => {
    await using first = await SshServer.start();
    await using server = await SshServer.start();
    await first.allow(server.userKey);
    await writeFile(server.knownHosts, (await server.knownLine()) + (await first.knownLine()));
    const config = server.directory.join("config");
    await writeFile(
      config,
      `Host login\n HostName 127.0.0.1\n Port ${server.port}\n ProxyJump gate\nHost gate\n HostName 127.0.0.1\n Port ${first.port}\nHost *\n IdentityFile ${server.userKey}\n UserKnownHostsFile ${server.knownHosts}\n`,
    );
    const change = { hosts: ["login"], port: undefined, key: undefined, knownHosts: undefined, config } as const;
    await using harness = hostBy(server, server.settings(change));
    expect(await tried(harness, "echo in")).toBe("in\n");
    expect(first.log.match(/Accepted publickey/g)).toHaveLength(1);
  });

  it("says when a jump host passes nobody on", async () => {
    await using first = await SshServer.start({ directives: ["AllowTcpForwarding no"] });
    await using server = await SshServer.start();
    await first.allow(server.userKey);
    await writeFile(server.knownHosts, (await server.knownLine()) + (await first.knownLine()));
    await using harness = hostBy(server, server.settings({ jump: [`127.0.0.1:${first.port}`] }));
    const fault = await tried(harness, "echo in");
    expect(fault).toEqual(notAsked);
    expect(String(fault)).toContain("cannot be reached through");
    expect(isFault(fault) && fault.hint).toContain("AllowTcpForwarding");
  });
});

describeWithEngine("sshd", "sessions on a connection", () => {
  it.each([1, 2])("F9: a server that gives %d at a time serves many commands and files, none fails", async (most) => {
    await using harness = await sshHarness({ directives: [`MaxSessions ${most}`] });
    const { host, server } = harness;
    await host.files.mkdir(host.workdir, {}, callContext());
    const outputs = await Promise.all(
      Array.from({ length: 12 }, async (_, index) => {
        await host.files.write(`${host.workdir}/f${index}`, `${index}`, { mode: 0o600 }, callContext());
        return tried(harness, `sleep 0.05; cat ${host.workdir}/f${index}`);
      }),
    );
    expect(outputs).toEqual(outputs.map((_, index) => `${index}`));
    expect(server.log.match(/Accepted publickey/g)?.length).toBeLessThanOrEqual(2);
  });

  it("F9: what a server refused is not asked for again, but once a minute", async () => {
    await using harness = await sshHarness({ directives: ["MaxSessions 2"] });
    const { server } = harness;
    const { context, pass } = hasty();
    const burst = async (): Promise<number> => {
      await Promise.all(Array.from({ length: 8 }, () => tried(harness, "sleep 0.05", context)));
      return server.log.match(/no more sessions/g)?.length ?? 0;
    };
    const first = await burst();
    expect(first).toBeGreaterThan(0);
    expect(await burst()).toBe(first);
    pass(61_000);
    const later = await burst();
    expect(later).toBeGreaterThan(first);
    expect(later).toBeLessThanOrEqual(first + 2); // one for each of two connections
  });

  it("F9: a command that is cancelled while it waits for a session never runs", async () => {
    await using harness = await sshHarness({ directives: ["MaxSessions 1"] });
    const { root } = harness;
    const long = new AbortController();
    const running = [1, 2].map((n) => tried(harness, `echo $$ > pid${n}; sleep 300`, callContext(long.signal)));
    for (const n of [1, 2]) await pidIn(`${root}/pid${n}`);
    const waiting = new AbortController();
    const never = tried(harness, "touch never", callContext(waiting.signal));
    await new Promise((resolve) => setImmediate(resolve));
    waiting.abort();
    expect(await never).toMatchObject({ code: "CANCELLED" });
    long.abort();
    expect(await Promise.all(running)).toMatchObject([{ code: "CANCELLED" }, { code: "CANCELLED" }]);
    expect(existsSync(`${root}/never`)).toBe(false);
  });

  it("says when the server gives none at all", async () => {
    await using harness = await sshHarness({ directives: ["MaxSessions 0"] });
    const fault = await tried(harness, "echo in");
    expect(fault).toEqual(notAsked);
    expect(String(fault)).toContain("gives no session");
  });
});

/** A server with a program that stands for a login shell and its rc files: says things, then runs the command by `shellPath`. */
function withLogin(before: string, shellPath = "/bin/sh"): Promise<SshHarness> {
  return sshHarness({ login: `#!/bin/sh\n${before}\nexec ${shellPath} -c "$SSH_ORIGINAL_COMMAND"\n` });
}

describeWithEngine("sshd", "answers in spite of noise", () => {
  it("F10: banners and what rc files print are no part of either stream", async () => {
    await using harness = await withLogin(
      "echo 'Welcome to the centre'; echo; echo 'k end 0 none'; echo 'stty: not a tty' >&2; printf 'no line end'; printf 'none' >&2",
    );
    const { host, root } = harness;
    const result = await host.run(shell(root, "echo out; echo err >&2; exit 5"), callContext());
    expect(result).toMatchObject({ exitCode: 5, stdout: "out\n", stderr: "err\n", truncated: false });
  });

  it("F10: megabytes of noise do not count against the output", async () => {
    await using harness = await withLogin("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2");
    expect(await tried(harness, "echo out")).toBe("out\n");
  });

  it("F10: an rc file that eats the input leads to no answer, not to running what was input", async () => {
    await using harness = await withLogin("read line");
    const { host, root } = harness;
    const request = shell(root, "cat", { stdin: `touch ${root}/pwned\n` });
    const fault: unknown = await host.run(request, callContext()).catch((error: unknown) => error);
    expect(fault).toEqual(notAsked);
    expect(existsSync(`${root}/pwned`)).toBe(false);
  });

  it.each([
    ["ends the shell", "echo 'account expired'; exit 0"],
    ["ends it as if well", "echo 'account expired'; exit 1"],
  ])("an rc file that %s is told with its words, and nothing ran", async (_what, before) => {
    await using harness = await withLogin(before);
    const fault = await tried(harness, "touch ran");
    expect(fault).toEqual(notAsked);
    expect(String(fault)).toContain("account expired");
    expect(existsSync(`${harness.root}/ran`)).toBe(false);
  });

  const shells = ["dash", "bash", "zsh", "ksh", "tcsh", "fish"].map((name) => `/bin/${name}`).filter(existsSync);
  it.each(shells)("works with %s as the account's shell", async (path) => {
    await using harness = await withLogin("echo hello", path);
    const { host, root } = harness;
    const argument = 'it\'s "a" $test !! \\ `x`\n*';
    const request = {
      ...shell(root, ""),
      argv: ["/bin/sh", "-c", 'cat; printf "%s" "$1" >&2', "sh", argument] as const,
    };
    const result = await host.run({ ...request, stdin: "input" }, callContext());
    expect(result).toMatchObject({ stdout: "input", stderr: argument, exitCode: 0 });
  });
});

describeWithEngine("sshd", "a server for files alone", () => {
  const directives = ["ForceCommand internal-sftp", "AllowTcpForwarding no", "PermitTTY no"];

  it("serves files, and says clearly that it runs no commands", async () => {
    await using harness = await sshHarness({ directives });
    const { host } = harness;
    await host.files.mkdir(`${host.workdir}/a`, {}, callContext());
    await host.files.write(`${host.workdir}/a/f`, "x", { mode: 0o600 }, callContext());
    expect(await host.files.list(`${host.workdir}/a`, callContext())).toEqual(["f"]);
    await host.files.remove(`${host.workdir}/a`, callContext());
    const fault = await tried(harness, "echo in");
    expect(fault).toEqual(notAsked);
    expect(String(fault)).toContain("runs no commands");
    expect(String(fault)).toContain("This service allows sftp connections only");
    expect(await host.probe(callContext())).toMatchObject({
      ok: false,
      reason: expect.stringContaining("runs no commands") as string,
    });
  });
});

describeWithEngine("sshd", "a server without files", () => {
  it.each(["none", "/no/such/program"] as const)(
    "runs commands, and says clearly that files are served by %s",
    async (sftp) => {
      await using harness = await sshHarness({ sftp });
      const { host } = harness;
      for (let time = 0; time < 12; time++) {
        const reading = host.files.read(`${host.workdir}/f`, { maxBytes: 1 }, callContext());
        await expect(reading).rejects.toMatchObject({ code: "UNREACHABLE", details: { why: "session" } });
      }
      expect(await tried(harness, "echo in")).toBe("in\n");
      expect(await host.probe(callContext())).toMatchObject({
        ok: false,
        reason: expect.stringContaining("files cannot be reached (SFTP)") as string,
      });
    },
  );
});
