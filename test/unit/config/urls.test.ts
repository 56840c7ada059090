import { describe, expect, test } from "vitest";
import { addressProblem, checkUrlRule, expandRemote, isLoopback, privateFlaw } from "../../../src/config/urls.ts";

describe("a URL that stands for all below it", () => {
  const schemes = ["https", "sftp", "file"];

  test.each([
    ["https://data.example.org/reads/", "rule", undefined],
    ["https://*.example.org/", "rule", undefined],
    ["https://*.example.org/", "plain", "names no single host"],
    ["https://*/", "plain", "names no single host"],
    ["sftp://data.example.org/in/", "plain", undefined],
    ["https://data.example.org/{{sample}}/", "rule", "holds { or }"],
    ["file:///data/{x}/", "plain", "holds { or }"],
    ["https://user:hunter2@data.example.org/", "rule", "a URL with user or password"],
    ["data.example.org", "rule", "is not a URL"],
    ["/data/", "plain", "is not a URL"],
    ["gopher://data.example.org/", "rule", "'gopher' is not a scheme"],
    ["https://data.example.org/?x", "rule", "cannot be used"],
  ] as const)("%s as %s: %s", (text, kind, problem) => {
    const found = checkUrlRule(text, schemes, kind);
    if (problem === undefined) expect(found).toBeUndefined();
    else expect(found?.message).toContain(problem);
    expect(JSON.stringify(found ?? "")).not.toContain("hunter2");
  });

  test("a name of a remote that is not there is told with those that are; an unknown scheme with the schemes", () => {
    expect(checkUrlRule("achive:/in/", schemes, "rule", ["archive"])).toEqual({
      message: "'achive' is no remote of this file",
      value: "achive",
      known: ["archive"],
    });
    expect(checkUrlRule("htps://x.org/", schemes, "rule", ["archive"])).toMatchObject({
      value: "htps",
      known: schemes,
    });
  });
});

test.each([
  ["10.1.2.3", true],
  ["10.0.0.0/8", true],
  ["fd00::/8", true],
  ["lan.example.org", true],
  ["10.0.0.0/33", false],
  ["10.0.0", false],
  ["https://lan.example.org/", false],
  ["", false],
])("%j opens a private network: %s", (entry, good) => {
  expect(privateFlaw(entry) === undefined).toBe(good);
});

test("a template that begins with a remote's name gets the remote's URL, once, and others stay as they are", () => {
  const remotes = { archive: { url: "sftp://archive.example.org/in/" }, bare: { url: "https://x.org/a" } };
  expect(expandRemote("archive:/{{sample}}/r.fq", remotes)).toBe("sftp://archive.example.org/in/{{sample}}/r.fq");
  expect(expandRemote("bare:/r.fq", remotes)).toBe("https://x.org/a/r.fq");
  for (const other of ["https://x.org/r", "archive://host/r", "other:/r", "{{config.url}}", "constructor:/r"]) {
    expect(expandRemote(other, remotes)).toBe(other);
  }
});

describe("the address of a service that is told a secret", () => {
  test.each([
    "https://auth.example.org/",
    "http://localhost:8080/",
    "http://127.0.0.1/",
    "http://127.8.9.10/",
    "http://[::1]:1/",
  ])("%s is taken", (text) => {
    expect(addressProblem(text)).toBeUndefined();
  });

  test.each([
    ["http://auth.example.org/", "would send credentials in clear"],
    ["http://localhost.example.org/", "would send credentials in clear"],
    ["http://127.0.0.1.example.org/", "would send credentials in clear"],
    ["https://user:hunter2@auth.example.org/", "the address holds a password"],
    ["https://user@auth.example.org/", "is not the address of a service"],
    ["https://auth.example.org/?token=1", "is not the address of a service"],
    ["https://auth.example.org/#x", "is not the address of a service"],
    ["ftp://auth.example.org/", "is not the address of a service"],
    ["auth.example.org", "is not the address of a service"],
  ])("%s is refused: %s", (text, problem) => {
    expect(addressProblem(text)).toContain(problem);
    expect(addressProblem(text)).not.toContain("hunter2");
  });

  test("only this machine's own names are loopback", () => {
    expect(["localhost", "[::1]", "127.0.0.1", "127.255.0.9"].every((host) => isLoopback(host))).toBe(true);
    expect(["127.0.0", "1127.0.0.1", "[::2]", "localhost.", "10.0.0.1"].some((host) => isLoopback(host))).toBe(false);
  });
});
