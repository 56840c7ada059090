import { execFile, spawn } from "node:child_process";
import { readFile, rename, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { isFault } from "../../../src/common/fault.ts";
import { SshLink } from "../../../src/hosts/ssh/link.ts";
import type { SshSettings } from "../../../src/hosts/ssh/settings.ts";
import { shell } from "../../../src/conformance/host/commands.ts";
import { callContext } from "../../../src/conformance/suite.ts";
import { Canaries, leaksInProcesses, leaksInText } from "../../helpers/canary.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { makeKey, SshServer } from "../../helpers/engines/ssh-server.ts";
import { waitFor } from "../../helpers/wait.ts";
import { hasty, hostBy } from "./ssh-harness.ts";

const run = promisify(execFile);

async function tried(server: SshServer, change: Partial<SshSettings>): Promise<unknown> {
  await using harness = hostBy(server, server.settings(change));
  return await harness.host.run(shell("/", "echo in"), callContext()).then(
    ({ stdout }) => stdout,
    (error: unknown) => error,
  );
}

/** An authentication agent with one key; ends with its scope. */
async function startAgent(server: SshServer, key: string): Promise<AsyncDisposable & { readonly socket: string }> {
  const socket = server.directory.join("agent");
  const child = spawn("ssh-agent", ["-D", "-a", socket], { stdio: "ignore" });
  const env = { ...process.env, SSH_AUTH_SOCK: socket };
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const agent = {
    socket,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
  try {
    await waitFor(async () => run("ssh-add", ["-q", key], { env }).then(() => true), {
      what: "the agent to take a key",
    });
    return agent;
  } catch (error) {
    await agent[Symbol.asyncDispose]();
    throw error;
  }
}

describeWithEngine("sshd", "who we are", () => {
  it.each(["ed25519", "ecdsa", "rsa"])("logs in with a key of type %s", async (type) => {
    await using server = await SshServer.start();
    const path = server.directory.join("own");
    await makeKey(path, { type });
    await server.allow(path);
    expect(await tried(server, { key: { path, label: path } })).toBe("in\n");
  });

  it("opens an encrypted key with the passphrase of a secret, which turns up nowhere", async () => {
    await using server = await SshServer.start();
    const canaries = new Canaries();
    const secret = canaries.make("the passphrase");
    const [path, words] = [server.directory.join("own"), server.directory.join("passphrase")];
    await makeKey(path, { passphrase: secret });
    await server.allow(path);
    await writeFile(words, `${secret}\n`, { mode: 0o600 });
    const key = { path, label: path };
    await using harness = hostBy(server, server.settings({ key, passphrase: { path: words, label: words } }));
    const result = await harness.host.run(shell("/", "echo in"), callContext());
    expect(result.stdout).toBe("in\n");
    expect(leaksInProcesses(canaries, server.directory.path)).toEqual([]);

    await writeFile(words, "another one\n", { mode: 0o600 });
    const wrong = await tried(server, { key, passphrase: { path: words, label: words } });
    expect(wrong).toMatchObject({ code: "UNREACHABLE", details: { why: "configuration", started: "no" } });
    expect(String(wrong)).toContain(`the passphrase '${words}' does not open the key '${path}'`);
    const none = await tried(server, { key });
    expect(String(none)).toContain("is encrypted, and no passphrase is named");
    for (const fault of [wrong, none]) expect(leaksInText(JSON.stringify(fault), canaries, "a fault")).toEqual([]);
  });

  it.each<[string, string, RegExp]>([
    ["is none", "no key at all", /is no private key that can be used/],
    ["is empty", "", /is empty/],
  ])("a key that %s is a fault of this side: no login is tried", async (_what, content, message) => {
    await using server = await SshServer.start();
    const path = server.directory.join("own");
    await writeFile(path, content, { mode: 0o600 });
    const fault = await tried(server, { key: { path, label: path } });
    expect(fault).toMatchObject({ code: "UNREACHABLE", details: { why: "configuration" } });
    expect(String(fault)).toMatch(message);
    expect(server.log).not.toMatch(/Failed|Accepted/);
  });

  it("refuses a key file that others may read", async () => {
    await using server = await SshServer.start();
    await run("chmod", ["644", server.userKey]);
    const fault = await tried(server, {});
    expect(String(fault)).toContain("has mode '0644'");
    expect(isFault(fault) && fault.hint).toBe(`chmod 600 '${server.userKey}'`);
  });

  it("logs in with the keys of an agent", async () => {
    await using server = await SshServer.start();
    const path = server.directory.join("own");
    await makeKey(path);
    await server.allow(path);
    await using agent = await startAgent(server, path);
    const config = server.directory.join("config");
    await writeFile(config, `Host *\n IdentityAgent ${agent.socket}\n`);
    expect(await tried(server, { key: undefined, config })).toBe("in\n");
    // A key that is refused first does not keep the agent from being asked.
    const other = server.directory.join("other");
    await makeKey(other);
    expect(await tried(server, { key: { path: other, label: other }, agent: true, config })).toBe("in\n");
  });

  it("goes on with the other keys when there is no agent, and says when there is no key at all", async () => {
    await using server = await SshServer.start();
    const config = server.directory.join("config");
    await writeFile(config, `Host *\n IdentityAgent ${server.directory.join("no-agent")}\n`);
    expect(await tried(server, { agent: true, config })).toBe("in\n");
    await writeFile(config, `Host *\n IdentityAgent none\n IdentityFile ${server.directory.join("none")}\n`);
    const fault = await tried(server, { key: undefined, config });
    expect(fault).toMatchObject({ details: { why: "configuration" } });
    expect(String(fault)).toContain("there is no key to log in");
    expect(server.log.match(/Connection from/g)).toHaveLength(1); // of the first
  });

  it("F14: three refused logins, then silence until the configuration is read anew", async () => {
    await using server = await SshServer.start();
    const path = server.directory.join("stranger");
    await makeKey(path);
    // Two names of one host: a login that one refuses is not tried at the other.
    const names = ["127.0.0.1", "localhost"];
    await server.know((await server.knownLine()) + (await server.knownLine("ed25519", `[localhost]:${server.port}`)));
    await using harness = hostBy(server, server.settings({ hosts: names, key: { path, label: path } }));
    const { context, pass } = hasty();
    const failures = (): number => server.log.match(/Failed publickey/g)?.length ?? 0;
    const run_ = (): Promise<unknown> =>
      harness.host.run(shell("/", "echo in"), context).catch((error: unknown) => error);

    for (const count of [1, 2, 3]) {
      const fault = await run_();
      expect(fault).toMatchObject({ code: "UNREACHABLE", details: { why: "login", started: "no" } });
      expect(String(fault)).toContain(path);
      // At once again: the server is not asked.
      expect(await run_()).toMatchObject({ code: "UNREACHABLE", details: { started: "no" } });
      await waitFor(() => failures() === count, { what: `${count} refused logins at the server` });
      pass(3_600_000);
    }
    for (let hour = 0; hour < 20; hour++) {
      const fault = await run_();
      expect(fault).toMatchObject({ code: "UNREACHABLE", details: { why: "stopped", started: "no" } });
      expect(String(fault)).toContain("3 logins were refused");
      expect(isFault(fault) && fault.hint).toContain("siteagent reload");
      await expect(harness.host.files.stat(harness.host.workdir, context)).rejects.toMatchObject({
        details: { why: "stopped" },
      });
      expect(await harness.host.probe(context)).toMatchObject({ ok: false });
      pass(3_600_000);
    }
    expect(failures()).toBe(3);
    expect(server.log.match(/Connection from/g)).toHaveLength(3);

    await server.allow(path);
    harness.link.forgive();
    expect(await run_()).toMatchObject({ stdout: "in\n" });
  });

  it("F12: a server that wants an answer of a person is refused at once, and nothing is answered", async () => {
    await using server = await SshServer.start({
      directives: [
        "KbdInteractiveAuthentication yes",
        "UsePAM yes",
        "AuthenticationMethods publickey,keyboard-interactive",
      ],
    });
    const fault = await tried(server, {});
    expect(fault).toMatchObject({ code: "UNREACHABLE", details: { why: "login", started: "no" } });
    expect(String(fault)).toContain("wants an answer that only a person can give");
    expect(String(fault)).toContain("keyboard-interactive");
  });

  describe("by certificates", () => {
    /** A server that trusts an authority and no key, and a key with a certificate of it. */
    async function certified(
      type: string,
      words: readonly string[] = ["-n", userInfo().username],
    ): Promise<{ readonly server: SshServer; readonly path: string }> {
      const server = await SshServer.start({ authority: true });
      const path = server.directory.join("own");
      await makeKey(path, { type });
      await run("ssh-keygen", ["-q", "-s", server.authority, "-I", "somebody", ...words, `${path}.pub`]);
      return { server, path };
    }

    it.each(["ed25519", "ecdsa", "rsa"])("logs in with a key of type %s", async (type) => {
      const { server: made, path } = await certified(type);
      await using server = made;
      expect(await tried(server, { key: { path, label: path } })).toBe("in\n");
      expect(server.log).toMatch(/Accepted publickey.*-CERT /);
    });

    it("logs in with the certificate that the configuration names, many times", async () => {
      const { server: made, path } = await certified("ecdsa");
      await using server = made;
      const [elsewhere, config] = [server.directory.join("elsewhere"), server.directory.join("config")];
      await rename(`${path}-cert.pub`, elsewhere);
      await writeFile(config, `Host *\n IdentityFile ${path}\n IdentitiesOnly yes\n CertificateFile ${elsewhere}\n`);
      // Signatures of ECDSA have numbers of different lengths.
      for (let time = 0; time < 12; time++) expect(await tried(server, { key: undefined, config })).toBe("in\n");
    });

    it("says that one has run out, and does not offer it", async () => {
      const { server: made, path } = await certified("ed25519", ["-n", userInfo().username, "-V", "20200101:20200102"]);
      await using server = made;
      const fault = await tried(server, { key: { path, label: path } });
      expect(fault).toMatchObject({ code: "UNREACHABLE", details: { why: "login" } });
      expect(String(fault)).toContain(`the certificate '${path}-cert.pub' has run out at 2020-01-`);
      expect(server.log).not.toContain("CERT");
    });

    it.each<[string, string, boolean]>([
      ["a day that ends in two hours", "-22h:+2h", true],
      ["a day that ends in three hours", "-21h:+3h", false],
      ["a year that ends in six days", "-359d:+6d", true],
      ["a year that ends in eight days", "-357d:+8d", false],
      ["an hour", "-1m:+59m", true],
      ["one that has run out", "-2d:-1d", true],
    ])("F13: says ahead that one runs out: %s", async (_, validity, told) => {
      const { server: made, path } = await certified("ed25519", ["-n", userInfo().username, "-V", validity]);
      await using server = made;
      await using link = new SshLink(server.settings({ key: { path, label: path } }));
      const endings = await link.endings(Date.now());
      expect(endings).toEqual(told ? [expect.stringMatching(/-cert\.pub' (?:runs out|has run out) at 20/)] : []);
      if (told) expect(server.log).not.toContain("Accepted");
    });

    it("goes on with the key when the certificate is for another account, or another key's, or none", async () => {
      const { server: made, path } = await certified("ed25519", ["-n", "another"]);
      await using server = made;
      await server.allow(path);
      expect(await tried(server, { key: { path, label: path } })).toBe("in\n");
      await writeFile(`${server.userKey}-cert.pub`, await readFile(`${path}-cert.pub`));
      expect(await tried(server, {})).toBe("in\n");
      await writeFile(`${server.userKey}-cert.pub`, "no certificate");
      expect(await tried(server, {})).toBe("in\n");
    });
  });
});
