/** Servers whose keys an authority certifies. */
import { appendFile, rm } from "node:fs/promises";
import { expect, it } from "vitest";
import { shell } from "../../../src/conformance/host/commands.ts";
import { callContext } from "../../../src/conformance/suite.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { makeKey, SshServer } from "../../helpers/engines/ssh-server.ts";
import { hostBy, wrongKey, tried } from "./ssh-harness.ts";

const words = ["-n", "login,127.0.0.*"];

describeWithEngine("sshd", "a server with a certificate", () => {
  it.each([
    ["ed25519", "ed25519"],
    ["ecdsa", "rsa"],
    ["ed25519", "ecdsa"],
  ])("whose key (%s) an authority (%s) of known_hosts has signed is the right one", async (hostKey, type) => {
    await using server = await SshServer.start({ hostKeys: [hostKey], certified: { type, words } });
    await server.know(await server.authorityLine());
    expect(await tried(server)).toBe("in\n");
  });

  it("is looked at again with each exchange of keys", async () => {
    const directives = ["RekeyLimit 100K", "LogLevel DEBUG1"];
    await using server = await SshServer.start({ directives, certified: { words } });
    await server.know(await server.authorityLine());
    await using harness = hostBy(server, server.settings());
    const much = shell("/", "head -c 500000 /dev/zero | tr '\\0' x");
    const { stdout } = await harness.host.run({ ...much, maxOutputBytes: 1_000_000 }, callContext());
    expect(stdout).toHaveLength(500_000);
    expect(server.log.split("SSH2_MSG_NEWKEYS received").length).toBeGreaterThan(3);
  });

  it.each([
    ["for other names", ["-n", "login"], "is for other names: login"],
    ["without names", [], "is for other names: none"],
    ["that has run out", [...words, "-V", "20200101:20200201"], "has run out"],
    ["that is not valid yet", [...words, "-V", "20900101:20910101"], "is not valid yet"],
  ])("%s is refused, with the reason", async (_, signing, why) => {
    await using server = await SshServer.start({ certified: { words: signing } });
    await server.know(await server.authorityLine());
    const fault = await tried(server);
    expect(fault).toMatchObject(wrongKey);
    expect(String(fault)).toContain(`its certificate 'a machine' ${why}`);
    expect(String(fault)).toContain(`'${server.knownHosts}:1'`);
    expect(server.log).not.toMatch(/Accepted|Failed/);
    // Its key alone is as good as ever.
    await appendFile(server.knownHosts, await server.knownLine());
    expect(await tried(server)).toBe("in\n");
  });

  it("of an authority that is another one, revoked, or for other names is refused", async () => {
    await using server = await SshServer.start({ certified: { words } });
    const authority = await server.authorityLine();
    await server.know(await server.authorityLine("elsewhere"));
    expect(await tried(server)).toMatchObject(wrongKey);
    await server.know(`${authority}${authority.replace("@cert-authority", "@revoked")}`);
    expect(String(await tried(server))).toContain("revoked");
    await server.know(`${authority}@revoked ${await server.knownLine("ed25519", "*")}`);
    expect(String(await tried(server))).toContain("revoked");
    await rm(server.authority);
    await makeKey(server.authority);
    await server.know(await server.authorityLine());
    expect(String(await tried(server))).toContain("of another authority (SHA256:");
  });

  it("is needed where only an authority is known", async () => {
    await using server = await SshServer.start({ authority: true });
    await server.know(await server.authorityLine());
    const fault = await tried(server);
    expect(fault).toMatchObject(wrongKey);
    expect(String(fault)).toContain("it shows no certificate");
  });
});
