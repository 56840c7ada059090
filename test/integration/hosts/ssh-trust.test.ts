import { execFile } from "node:child_process";
import { appendFile, readFile, rm, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { isFault } from "../../../src/common/fault.ts";
import { shell } from "../../../src/conformance/host/commands.ts";
import { callContext } from "../../../src/conformance/suite.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { makeKey, SshServer } from "../../helpers/engines/ssh-server.ts";
import { hostBy, tried, wrongKey } from "./ssh-harness.ts";

const run = promisify(execFile);

async function printedFingerprint(path: string): Promise<string> {
  const { stdout } = await run("ssh-keygen", ["-lf", `${path}.pub`]);
  return /SHA256:\S+/.exec(stdout)?.[0] ?? "none";
}

const refused = expect.objectContaining(wrongKey) as unknown;

describeWithEngine("sshd", "which server is the right one", () => {
  it("F2: an unknown key is refused with its fingerprint, nothing is written, and the hint makes it known", async () => {
    await using server = await SshServer.start();
    await writeFile(server.knownHosts, "# nothing yet\n");
    const fault = await tried(server);
    expect(fault).toEqual(refused);
    if (!isFault(fault)) throw new Error("no fault");
    expect(fault.message).toContain(`'${server.name}' is not known`);
    expect(fault.message).toContain(await printedFingerprint(server.hostKey()));
    expect(await readFile(server.knownHosts, "utf8")).toBe("# nothing yet\n");
    expect(server.log).not.toMatch(/Accepted|Failed/);
    const command = /: (echo .*)$/.exec(fault.hint ?? "")?.[1];
    await run("/bin/sh", ["-c", command ?? "false"]);
    expect(await tried(server)).toBe("in\n");
  });

  it("F2: no known hosts at all are no reason to trust", async () => {
    await using server = await SshServer.start();
    await rm(server.knownHosts);
    expect(await tried(server)).toEqual(refused);
  });

  it("F1: a changed key is refused and named with the old one; no login is tried", async () => {
    await using server = await SshServer.start();
    await makeKey(server.directory.join("old"));
    const [type, old] = (await readFile(server.directory.join("old.pub"), "utf8")).split(" ");
    await writeFile(server.knownHosts, `# other line\n${server.name} ${type} ${old}\n`);
    const fault = await tried(server);
    expect(fault).toEqual(refused);
    if (!isFault(fault)) throw new Error("no fault");
    expect(fault.message).toContain("CHANGED");
    expect(fault.message).toContain(await printedFingerprint(server.hostKey()));
    expect(fault.message).toContain(await printedFingerprint(server.directory.join("old")));
    expect(fault.message).toContain(`'${server.knownHosts}:2'`);
    expect(fault.hint).toContain(`ssh-keygen -R '${server.name}' -f ${server.knownHosts}`);
    expect(server.log).not.toMatch(/Accepted|Failed/);
  });

  it("F1: a server whose key changes while it is used is refused from then on", async () => {
    await using server = await SshServer.start();
    await using harness = hostBy(server, server.settings());
    expect(await harness.host.run(shell("/", "echo in"), callContext())).toMatchObject({ stdout: "in\n" });
    await server.down();
    await rm(server.hostKey());
    await rm(`${server.hostKey()}.pub`);
    await makeKey(server.hostKey());
    await server.up();
    harness.link.forgive();
    await expect(harness.host.run(shell("/", "echo in"), callContext())).rejects.toEqual(refused);
  });

  it("knows names that are hashed", async () => {
    await using server = await SshServer.start();
    await run("ssh-keygen", ["-H", "-f", server.knownHosts]);
    expect(await readFile(server.knownHosts, "utf8")).toMatch(/^\|1\|/);
    expect(await tried(server)).toBe("in\n");
  });

  it("does not take the key of another port or machine for this one's", async () => {
    await using server = await SshServer.start();
    await writeFile(server.knownHosts, await server.knownLine("ed25519", "127.0.0.1"));
    expect(await tried(server)).toEqual(refused);
  });

  it("F11: asks the server for the key that is known when it has several", async () => {
    await using server = await SshServer.start({ hostKeys: ["ed25519", "ecdsa", "rsa"] });
    for (const type of ["rsa", "ecdsa", "ed25519"]) {
      await writeFile(server.knownHosts, await server.knownLine(type));
      expect(await tried(server)).toBe("in\n");
    }
  });

  it("refuses a revoked key although it is known", async () => {
    await using server = await SshServer.start();
    await appendFile(server.knownHosts, `@revoked ${await server.knownLine("ed25519", "*")}`);
    const fault = await tried(server);
    expect(fault).toEqual(refused);
    expect(String(fault)).toContain("revoked");
  });

  it("uses the name that HostKeyAlias says, and the files of the configuration", async () => {
    await using server = await SshServer.start();
    const known = server.directory.join("my hosts");
    await writeFile(known, await server.knownLine("ed25519", `[centre]:${server.port}`));
    await writeFile(
      server.directory.join("config"),
      `Host login\n HostName 127.0.0.1\n Port ${server.port}\n HostKeyAlias centre\n UserKnownHostsFile "${known}"\n`,
    );
    const change = {
      hosts: ["login"],
      port: undefined,
      knownHosts: undefined,
      config: server.directory.join("config"),
    };
    expect(await tried(server, change)).toBe("in\n");
  });
});
