import { homedir, userInfo } from "node:os";
import { writeFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { isFault } from "../../../../src/common/fault.ts";
import { parseJump, routesOf } from "../../../../src/hosts/ssh/route.ts";
import type { SshSettings } from "../../../../src/hosts/ssh/settings.ts";
import { askSshConfig, expandPath, parseSshConfig } from "../../../../src/hosts/ssh/ssh-config.ts";
import { temporaryDirectory } from "../../../helpers/temporary.ts";

const example = `
# the centre
Host login cluster*
  HostName login.example.org
  Port=2222
  IdentityFile "~/.ssh/id two"
  IdentityFile ~/.ssh/id_three
  ProxyJump gate

Host !clusterx cluster?
  User inner

Host *
  User outer
  Port 99
`;

function settings(change: Partial<SshSettings>): SshSettings {
  return {
    hosts: ["login"],
    user: undefined,
    port: undefined,
    key: undefined,
    passphrase: undefined,
    knownHosts: undefined,
    jump: undefined,
    agent: undefined,
    keepaliveMs: 15_000,
    config: false,
    ...change,
  };
}

describe("the account's SSH configuration, read without the program", () => {
  test("the first value of a key counts, of blocks that name the host", () => {
    const options = parseSshConfig(example, "/c", "login");
    expect(Object.fromEntries(options)).toEqual({
      hostname: ["login.example.org"],
      port: ["2222"],
      identityfile: ["~/.ssh/id two", "~/.ssh/id_three"],
      proxyjump: ["gate"],
      user: ["outer"],
    });
    expect(parseSshConfig(example, "/c", "cluster1").get("user")).toEqual(["inner"]);
    expect(parseSshConfig(example, "/c", "clusterx").get("user")).toEqual(["outer"]);
    expect(parseSshConfig(example, "/c", "elsewhere").get("hostname")).toBeUndefined();
  });

  test.each(["Match user x\n  User y", "Include other"])("refuses '%s', which only ssh can read", (text) => {
    const parse = (): unknown => parseSshConfig(`Host a\n${text}`, "/c", "a");
    expect(parse).toThrow(/'\/c:2' has '(Match|Include)'/);
  });

  test("is read when there is no program, and says so when there is no file", async () => {
    await using directory = await temporaryDirectory();
    await writeFile(directory.join("config"), example);
    const question = { host: "login", user: undefined, port: 7, config: directory.join("config") };
    const options = await askSshConfig(question, directory.join("no-ssh"));
    expect([options.get("hostname"), options.get("port")]).toEqual([["login.example.org"], ["7"]]);
    const missing = askSshConfig({ ...question, config: directory.join("none") }, directory.join("no-ssh"));
    await expect(missing).rejects.toSatisfy((error) => isFault(error, "CONFIG"));
  });

  test("names of files may hold the tokens of ssh_config(5)", () => {
    expect(expandPath("~/.ssh/%h_%r_%u_%%", "h", "r")).toBe(`${homedir()}/.ssh/h_r_${userInfo().username}_%`);
    expect(expandPath("%d/x", "h", "r")).toBe(`${homedir()}/x`);
    expect(expandPath("/x/%C", "h", "r")).toBeUndefined();
  });
});

describe("jumps", () => {
  test.each([
    ["gate", { host: "gate", user: undefined, port: undefined }],
    ["me@gate:2222", { host: "gate", user: "me", port: 2222 }],
    ["ssh://me@gate", { host: "gate", user: "me", port: undefined }],
    ["[2001:db8::1]:22", { host: "2001:db8::1", user: undefined, port: 22 }],
  ])("'%s' is understood", (text, spec) => expect(parseJump(text)).toEqual(spec));

  test.each(["", "-oProxyCommand=x", "a b", "a@", "gate:port", "user@-x"])("'%s' is refused", (text) => {
    expect(parseJump(text)).toBeUndefined();
  });

  test("the way is that of the settings, with the same account and keys", async () => {
    const [route] = await routesOf(
      settings({
        user: "svc",
        port: 2222,
        jump: ["gate", "me@inner:77"],
        key: { path: "/k", label: "/k" },
        knownHosts: "/h",
      }),
    );
    expect(route?.target).toMatchObject({ label: "svc@login:2222", name: "login", knownHosts: ["/h"] });
    expect(route?.jumps).toMatchObject([
      { address: "gate", port: 22, user: userInfo().username, keys: [{ path: "/k" }], knownHosts: ["/h"] },
      { address: "inner", port: 77, user: "me" },
    ]);
  });

  test("a configuration of ssh that leads in a circle ends with a fault", async () => {
    await using directory = await temporaryDirectory();
    await writeFile(directory.join("config"), "Host a\n ProxyJump b\nHost b\n ProxyJump a\n");
    const routes = routesOf(settings({ hosts: ["a"], config: directory.join("config") }));
    await expect(routes).rejects.toSatisfy((error) => isFault(error, "CONFIG") && /jumps/.test(error.message));
  });

  test("a ProxyCommand is refused, not passed over", async () => {
    await using directory = await temporaryDirectory();
    await writeFile(directory.join("config"), "Host a\n ProxyCommand nc %h %p\n");
    const routes = routesOf(settings({ hosts: ["a"], config: directory.join("config") }));
    await expect(routes).rejects.toSatisfy((error) => isFault(error, "CONFIG") && /ProxyCommand/.test(error.message));
  });

  test("the agent is used where no key is named, or where it is said", async () => {
    const agentOf = async (change: Partial<SshSettings>) => (await routesOf(settings(change)))[0]?.target.agent;
    const before = process.env["SSH_AUTH_SOCK"];
    process.env["SSH_AUTH_SOCK"] = "/agent";
    try {
      const key = { path: "/k", label: "/k" };
      expect(await agentOf({})).toBe("/agent");
      expect(await agentOf({ key })).toBeUndefined();
      expect(await agentOf({ key, agent: true })).toBe("/agent");
      expect(await agentOf({ agent: false })).toBeUndefined();
    } finally {
      if (before === undefined) delete process.env["SSH_AUTH_SOCK"];
      else process.env["SSH_AUTH_SOCK"] = before;
    }
  });
});
