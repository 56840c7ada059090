import { createHmac, randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  fingerprint,
  judgeHostKey,
  knownName,
  knownTypes,
  parseKnownHosts,
} from "../../../../src/hosts/ssh/known-hosts.ts";
import { hostKeyAlgorithms } from "../../../../src/hosts/ssh/connect.ts";

/** A key in the wire format: its type, then anything. */
function keyOf(type: string, content = "content"): Buffer {
  const parts = [type, content].map((text) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(Buffer.byteLength(text));
    return Buffer.concat([length, Buffer.from(text)]);
  });
  return Buffer.concat(parts);
}

const ed = keyOf("ssh-ed25519");
const other = keyOf("ssh-ed25519", "other");
const rsa = keyOf("ssh-rsa");

function line(hosts: string, key = ed, type = "ssh-ed25519"): string {
  return `${hosts} ${type} ${key.toString("base64")} a comment`;
}

function hashed(name: string): string {
  const salt = randomBytes(20);
  return `|1|${salt.toString("base64")}|${createHmac("sha1", salt).update(name).digest("base64")}`;
}

function judge(text: string, name = "login.example.org", key = ed) {
  return judgeHostKey(parseKnownHosts(text, "/k"), name, key);
}

describe("known hosts", () => {
  test.each([
    ["its name", "login.example.org"],
    ["one of several names", "x,login.example.org,10.0.0.1"],
    ["a pattern", "*.example.org"],
    ["a pattern with ?", "log?n.example.*"],
    ["its name in capitals", "Login.Example.ORG"],
    ["its name hashed", hashed("login.example.org")],
  ])("a key is known by %s", (_what, hosts) => {
    expect(judge(line(hosts))).toEqual({ state: "known" });
  });

  test.each([
    ["another name", line("login2.example.org")],
    ["a hash of another name", line(hashed("login2.example.org"))],
    ["a pattern that excludes it", line("*.example.org,!login.example.org")],
    ["another port", line("[login.example.org]:2222")],
    ["a part of the name", line("example.org")],
    ["a comment", `# ${line("login.example.org")}`],
    ["a marker that nobody knows", `@trusted ${line("login.example.org")}`],
    ["a type that the key is not of", line("login.example.org", ed, "ssh-rsa")],
    ["a line without key", "login.example.org ssh-ed25519"],
    ["nothing", ""],
  ])("a key is not known by %s", (_what, text) => {
    expect(judge(text)).toMatchObject({ state: "unknown" });
  });

  test("a port that is not 22 belongs to the name", () => {
    expect(knownName("Login", 22)).toBe("login");
    expect(judge(line("[login]:2222"), knownName("login", 2222))).toEqual({ state: "known" });
    expect(judge(line(hashed("[login]:2222")), knownName("login", 2222))).toEqual({ state: "known" });
    expect(judge(line("login"), knownName("login", 2222))).toMatchObject({ state: "unknown" });
  });

  test("another key of the same type is a changed key, one of another type an unknown one", () => {
    expect(judge(`# x\n${line("login.example.org", other)}`)).toMatchObject({
      state: "changed",
      known: { file: "/k", line: 2 },
    });
    expect(judge(line("login.example.org", rsa, "ssh-rsa"))).toMatchObject({
      state: "unknown",
      others: [{ type: "ssh-rsa" }],
    });
  });

  test("of several keys of a type each is known: there are several machines behind a name", () => {
    expect(judge(`${line("login.example.org", other)}\n${line("login.example.org")}`)).toEqual({ state: "known" });
  });

  test("a revoked key is refused, also where another line has it", () => {
    expect(judge(`${line("login.example.org")}\n@revoked ${line("*")}`)).toMatchObject({ state: "revoked" });
    expect(judge(`${line("login.example.org")}\n@revoked ${line("*", other)}`)).toEqual({ state: "known" });
  });

  test("the line of an authority makes no plain key known", () => {
    expect(judge(`@cert-authority ${line("*.example.org")}`)).toMatchObject({
      state: "unknown",
      others: [],
      authority: { line: 1 },
    });
  });

  test("fingerprints are those of ssh-keygen", () => {
    // `ssh-keygen -lf` of this key.
    const key = "AAAAC3NzaC1lZDI1NTE5AAAAIJJPS5jGdwoZ0VGRU5iE5tOLNmhzyWqDaHCHy1ySvGcA";
    expect(fingerprint(Buffer.from(key, "base64"))).toBe("SHA256:nolM4rX71dfL9p6gECyiJhAAC0NaVISoIWTlysOvLII");
  });

  test("the server is asked first for a key of a type that is known", () => {
    const known = parseKnownHosts(`${line("a", rsa, "ssh-rsa")}\n@revoked ${line("a")}`, "/k");
    expect(knownTypes(known, "a")).toEqual(["ssh-rsa"]);
    expect(hostKeyAlgorithms(["ssh-rsa"]).slice(0, 3)).toEqual(["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]);
    expect(hostKeyAlgorithms([])[0]).toBe("ssh-ed25519");
  });

  test("a pattern with many stars is judged at once", () => {
    const begin = performance.now();
    expect(judge(line(`${"*a".repeat(60)}b`), "a".repeat(200))).toMatchObject({ state: "unknown" });
    expect(performance.now() - begin).toBeLessThan(1_000);
  });
});
