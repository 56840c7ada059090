import { isIP } from "node:net";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Fault } from "../../../src/common/fault.ts";
import { addressKind } from "../../../src/transfer/addresses.ts";
import { compilePolicy, parseRule, type PolicyInput, type TransferPolicy } from "../../../src/transfer/policy.ts";
import { fuzz, fuzzing } from "../../helpers/fuzz.ts";

function policy(sources: readonly string[], more: Partial<PolicyInput> = {}): TransferPolicy {
  return compilePolicy({ sources, destinations: [], ...more });
}

function verdict(rules: TransferPolicy, url: string): string {
  try {
    return rules.check(url, "sources");
  } catch (error) {
    if (error instanceof Fault && error.code === "POLICY") return "refused";
    throw error;
  }
}

describe("rules", () => {
  test.each([
    ["https://data.example.org/reads/", "https://data.example.org/reads/a.fq", true],
    ["https://data.example.org/reads/", "https://data.example.org/reads", true],
    ["https://data.example.org/reads", "https://data.example.org/reads/a.fq?sig=1", true],
    ["https://data.example.org/reads/", "https://data.example.org/readset/a.fq", false],
    ["https://data.example.org/reads/", "https://data.example.org/", false],
    ["https://data.example.org/", "http://data.example.org/", false],
    ["https://data.example.org/", "https://data.example.org:8443/", false],
    ["https://data.example.org:443/", "https://data.example.org/x", true],
    ["https://data.example.org/", "https://DATA.example.ORG/x", true],
    ["https://data.example.org/", "https://xdata.example.org/", false],
    ["https://data.example.org/", "https://data.example.org.evil.org/", false],
    ["https://data.example.org/", "https://data.exam\u00adple.org\u3002evil/", false],
    ["https://data.example.org/", "https://data.\u24d4xample\u3002org/", true],
    ["https://*.example.org/", "https://a.b.example.org/x", true],
    ["https://*.example.org/", "https://example.org/x", false],
    ["https://*.example.org/", "https://evilexample.org/x", false],
    ["https://*/", "https://anything.org/x", true],
    ["https://*/", "https://127.0.0.1/x", false],
    ["https://*/", "https://[::1]/x", false],
    ["https://*/", "https://93.184.216.34/x", true],
    ["http://127.0.0.1:8080/", "http://127.0.0.1:8080/x", true],
    ["http://127.0.0.1:8080/", "http://127.0.0.2:8080/x", false],
    ["http://[::1]:8080/", "http://[0:0:0:0:0:0:0:1]:8080/x", true],
    ["file:///data/", "file:///data/x", true],
    ["file:///data/", "file:///database/x", false],
    ["file:///data/", "file://server/data/x", false],
    ["https://*/", "file:///etc/passwd", false],
    ["sftp://archive.example.org/in/", "sftp://ARCHIVE.example.org:22/in/x", true],
    ["sftp://archive.example.org/in/", "sftp://archive.example.org/in/%2e%2e/x", false],
    ["https://x.org/a%20b/", "https://x.org/a%20b/c", true],
    ["https://x.org/a b/".replace(" ", "%20"), "https://x.org/a+b/c", false],
  ])("%s and %s: %s", (rule, url, allowed) => {
    expect(verdict(policy([rule]), url) !== "refused").toBe(allowed);
  });

  test.each([
    "https://user@data.example.org/",
    "https://data.example.org@evil.org/",
    "https://data.example.org\\@evil.org/",
    "https:data.example.org/",
    "https:/data.example.org/",
    "https:///data.example.org/",
    "https://data.example.org./",
    "https://data.example.org.:443/",
    "https://data%2eexample.org/",
    "https://data.example.org/../x",
    "https://data.example.org/a/%2e%2e/x",
    "https://data.example.org/a/.%2E/x",
    "https://data.example.org/a/%252e%252e/x",
    "https://data.example.org/a%2fb",
    "https://data.example.org/a%5cb",
    "https://data.example.org/a%00b",
    "https://data.example.org/a%ffb",
    "https://data.example.org//a",
    "https://data.example.org/a#b",
    " https://data.example.org/",
    "https://data.example.org/\t",
    "ht\ntps://data.example.org/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "//data.example.org/",
    "data.example.org",
    "",
    "javascript:alert(1)",
    "file:///data/../etc/passwd",
    "file:////etc/passwd",
    "file:///data/x?y",
    "file://localhost/data/x",
  ])("the spelling %j is refused", (url) => {
    const rules = policy(["https://data.example.org/", "https://*/", "file:///data/", "file:///"]);
    expect(verdict(rules, url)).toBe("refused");
  });

  test.each([
    "0x7f.1",
    "2130706433",
    "0177.0.0.1",
    "127.1",
    "１２７.0.0.1",
    "[::ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "0",
    "0.0.0.0",
    "[::]",
    "169.254.169.254",
    "[fd00:ec2::254]",
    "100.100.100.200",
    "192.168.0.1",
    "[2002:7f00:1::]",
    "[::ffff:0:127.0.0.1]",
  ])("the address %s is not public, however it is written", (host) => {
    expect(verdict(policy(["http://*/"]), `http://${host}/`)).toBe("refused");
  });

  test("G1: a refusal names the list, the URL without query and credentials, and the nearest remedy", () => {
    const rules = policy(["https://data.example.org/reads/"]);
    const check = (url: string): Fault => {
      try {
        rules.check(url, "sources");
      } catch (error) {
        if (error instanceof Fault) return error;
      }
      throw new Error("a fault was expected");
    };
    const typo = check("https://dta.example.org/reads/x?sig=secret");
    expect(typo.message).toBe(
      "policy.sources refuses 'https://dta.example.org/reads/x': no rule allows host 'dta.example.org'",
    );
    expect(typo.hint).toContain("add 'https://dta.example.org/reads/' to policy.sources");
    expect(typo.hint).toContain("did the job mean host 'data.example.org'");
    expect(check("https://me:secret@data.example.org/x").message).not.toContain("secret");
    expect(check("https://data.example.org/other/x").message).toContain("not below 'https://data.example.org/reads/'");
    expect(check("ftp://data.example.org/x").message).toContain("no rule allows scheme 'ftp'");
    expect(check("https://data.example.org:1/reads/x").message).toContain("no rule allows port 1");
  });

  test("explains a verdict with its rule", () => {
    const rules = policy(["https://data.example.org/", "http://*/"]);
    expect(rules.explain("https://data.example.org/x?y=z", "sources")).toEqual({
      allowed: true,
      url: "https://data.example.org/x",
      rule: "https://data.example.org/",
      reason: "rule 'https://data.example.org/' of policy.sources allows it",
    });
    expect(rules.explain("http://10.0.0.1/", "sources")).toMatchObject({
      allowed: false,
      remedy: "add '10.0.0.1' to policy.allow_private",
    });
    expect(rules.explain("https://data.example.org/", "destinations")).toMatchObject({
      allowed: false,
      reason: "the list is empty",
    });
  });

  test("addresses after DNS", () => {
    const rules = policy(["http://localhost/", "https://*.example.org/", "http://10.0.0.7/"], {
      allow_private: ["192.168.5.0/24", "fd12::/16", "lan.example.org"],
    });
    const allowed = (host: string, address: string): boolean => {
      try {
        rules.checkAddress(host, address, "sources");
        return true;
      } catch {
        return false;
      }
    };
    expect(allowed("a.example.org", "93.184.216.34")).toBe(true);
    expect(allowed("a.example.org", "127.0.0.1")).toBe(false);
    expect(allowed("a.example.org", "10.0.0.7")).toBe(false);
    expect(allowed("a.example.org", "::ffff:10.0.0.7")).toBe(false);
    expect(allowed("a.example.org", "192.168.5.9")).toBe(true);
    expect(allowed("a.example.org", "::ffff:192.168.5.9")).toBe(true);
    expect(allowed("a.example.org", "fd12::1")).toBe(true);
    expect(allowed("a.example.org", "fe80::1%eth0")).toBe(false);
    expect(allowed("localhost", "127.0.0.1")).toBe(true);
    expect(allowed("localhost", "::1")).toBe(true);
    expect(allowed("localhost", "10.1.1.1")).toBe(false);
    expect(allowed("lan.example.org", "172.16.1.1")).toBe(true);
    expect(allowed("lan.example.org", "169.254.169.254")).toBe(false);
    expect(allowed("a.example.org", "no address")).toBe(false);
  });

  test("all wrong rules are named at once", () => {
    const wrong = {
      sources: ["data.example.org", "https://a*.org/", "https://x.org/?q"],
      allow_private: ["10.0.0.0/99"],
    };
    expect(() => policy(wrong.sources, { allow_private: wrong.allow_private })).toThrow(
      /policy\.sources\[0\].*policy\.sources\[1\].*policy\.sources\[2\].*policy\.allow_private\[0\]/,
    );
  });

  test.each([
    ["https://data.example.org/a*/", "a rule has no '*' in its path"],
    ["https://data.example.org/?q", "a rule has no query"],
    ["https://*x.example.org/", "'*' stands for a whole host"],
    ["https://*x/", "'*' stands for a whole host"],
    ["https://*.org/", "a domain of at least two parts"],
    ["https://*.10.0.0.1/", "a domain of at least two parts"],
    ["https://a.*.org/", "its host is not a host name"],
  ])("the rule %s cannot be used: %s", (rule, problem) => {
    expect(() => policy([rule])).toThrow(problem);
    expect(parseRule(rule)).toMatchObject({ ok: false, problem: expect.stringContaining(problem) as string });
  });

  test("directories that rules name, of files and of one place", () => {
    const rules = policy([
      "file:///data/in/",
      "file:///scratch",
      "sftp://a.example.org/x/y/",
      "sftp://*.example.org/z/",
    ]);
    expect(rules.fileRoots("sources")).toEqual(["/data/in", "/scratch"]);
    expect(rules.fileRoots("destinations")).toEqual([]);
    expect(rules.rootsFor("sftp://a.example.org/other", "sources")).toEqual(["/x/y", "/z"]);
    expect(rules.rootsFor("sftp://b.example.org/", "sources")).toEqual(["/z"]);
    expect(rules.rootsFor("sftp://a.example.org:2222/x/y/", "sources")).toEqual([]);
    expect(rules.rootsFor("https://a.example.org/x/y/", "sources")).toEqual([]);
    expect(rules.rootsFor("sftp://a.example.org/%2e%2e/x", "sources")).toEqual([]);
  });

  test("a private address that a wildcard matches is opened by its network, for that list's rules alone", () => {
    const rules = policy(["http://*/"], { allow_private: ["10.1.0.0/16"] });
    expect(verdict(rules, "http://10.1.2.3/x")).toBe("http://10.1.2.3/x");
    expect(verdict(rules, "http://10.2.2.3/x")).toBe("refused");
    expect(rules.explain("http://10.1.2.3/x", "destinations").allowed).toBe(false);
  });

  test("trusted schemes need no rule", () => {
    const rules = compilePolicy({ sources: [], destinations: [] }, { trustedSchemes: ["siteagent"] });
    expect(rules.check("siteagent:outputs", "destinations")).toBe("siteagent:outputs");
    expect(rules.explain("siteagent:outputs", "destinations").allowed).toBe(true);
  });
});

const trick = fc.constantFrom(
  "https://",
  "http://",
  "HTTPS://",
  "https:",
  "/",
  "//",
  "\\",
  "@",
  ":",
  ":443",
  ":80",
  "?",
  "#",
  ".",
  "..",
  "%2e",
  "%2E%2e",
  "%2f",
  "%5c",
  "%00",
  "%25",
  "%",
  "data.example.org",
  "example.org",
  "evil.org",
  "127.0.0.1",
  "0x7f",
  "2130706433",
  "[::1]",
  "[::ffff:7f00:1]",
  "[fe80::1%25lo]",
  "localhost",
  "reads",
  "reads/",
  "；",
  "。",
  "①",
  "ⓔ",
  "\u00ad",
  "\t",
  "\n",
  " ",
  "\0",
  "user:pw@",
  "xn--",
  "é",
);

test("G1: whatever text passes means the allowed place to every reader", fuzzing, () => {
  const rules = policy(["https://data.example.org/reads/", "http://*/open/"]);
  fc.assert(
    fc.property(
      fc.array(fc.oneof({ weight: 4, arbitrary: trick }, { weight: 1, arbitrary: fc.string({ maxLength: 3 }) }), {
        maxLength: 12,
      }),
      (parts) => {
        const text = parts.join("");
        for (const candidate of [
          text,
          `https://data.example.org/reads/${text}`,
          `http://${text}/open/x`,
          `https://data.example.org${text}`,
        ]) {
          const passed = verdict(rules, candidate);
          if (passed === "refused") continue;
          const url = new URL(passed);
          expect(url.href).toBe(passed);
          expect([url.username, url.password, url.hash]).toEqual(["", "", ""]);
          expect(new URL(candidate).host).toBe(url.host);
          if (url.protocol === "https:") {
            expect(url.host).toBe("data.example.org");
            expect(url.pathname === "/reads" || url.pathname.startsWith("/reads/")).toBe(true);
          } else {
            expect(url.pathname === "/open" || url.pathname.startsWith("/open/")).toBe(true);
            const host = url.hostname.replace(/^\[|\]$/g, "");
            if (isIP(host) !== 0) expect(addressKind(host)).toBe("public");
          }
          expect(decodeURIComponent(url.pathname).split("/")).not.toContain("..");
          expect(rules.check(passed, "sources")).toBe(passed);
        }
      },
    ),
    fuzz(5_000),
  );
});

test("every spelling of an IPv4 address has the kind of that address", () => {
  fc.assert(
    fc.property(fc.ipV4(), (address) => {
      const bytes = address.split(".").map(Number);
      const value = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
      const hex = bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
      const kind = addressKind(address);
      for (const inner of [`::ffff:${address}`, `64:ff9b::${address}`, `2002:${hex.slice(0, 4)}:${hex.slice(4)}::1`]) {
        expect(addressKind(inner)).toBe(kind);
      }
      const rules = policy(["http://*/"]);
      for (const host of [String(value), `0x${value.toString(16)}`, `0${value.toString(8)}`, address]) {
        expect(verdict(rules, `http://${host}/`)).toBe(kind === "public" ? `http://${address}/` : "refused");
      }
    }),
  );
});
