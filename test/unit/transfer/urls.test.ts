import { describe, expect, it } from "vitest";
import { addressKind, inNetwork, parseNetwork } from "../../../src/transfer/addresses.ts";
import { readUrl, shownUrl, urlBelow } from "../../../src/transfer/urls.ts";

describe("readUrl", () => {
  it.each([
    ["a URL that is longer than any server takes", `https://h/${"x".repeat(9000)}`, "longer than 8192"],
    ["half a character", "https://h/\ud800", "not valid Unicode"],
    ["a port that is none", "https://h:99999/x", "host or port is not valid"],
    ["a host with a sign", "sftp://a!b/x", "not a host name"],
    ["a relative path", "x/y", "scheme://host/path"],
  ])("of %s", (_what, text, problem) => {
    expect(readUrl(text)).toEqual({ ok: false, problem: expect.stringContaining(problem) });
  });

  it("keeps a port that is not the scheme's own, and brackets an IPv6 host", () => {
    const read = (text: string) => {
      const reading = readUrl(text);
      return reading.ok ? [reading.url.href, reading.url.port] : reading.problem;
    };
    expect(read("HTTPS://H.example.org:443")).toEqual(["https://h.example.org/", 443]);
    expect(read("sftp://h:22/a")).toEqual(["sftp://h/a", 22]);
    expect(read("sftp://h:2222/a")).toEqual(["sftp://h:2222/a", 2222]);
    expect(read("http://[2001:DB8::1]:8080/a")).toEqual(["http://[2001:db8::1]:8080/a", 8080]);
    expect(read("s3://bucket/a")).toEqual(["s3://bucket/a", 0]);
  });
});

describe("names with percent signs in them", () => {
  const names = ["a%2eb", "%2e%2e", "..%2fx", "x%2Fy", "%00", "50%25", "%", "%zz", "%252e%252e", "a%5Cb"];
  const inUrl = (scheme: string, name: string) => readUrl(urlBelow(`${scheme}://h/d`, name));

  it.each(["sftp", "scp", "rsync", "s3", "globus"])("are names in URLs of %s, decoded once", (scheme) => {
    for (const name of names) {
      expect(inUrl(scheme, name)).toMatchObject({ ok: true, url: { segments: ["d", name] } });
    }
  });

  it("are refused where a web server that decodes them again would be led elsewhere, and nowhere else", () => {
    const refused = names.filter((name) => !inUrl("https", name).ok);
    expect(refused).toEqual(["%2e%2e", "..%2fx", "%00", "%252e%252e"]);
  });
});

describe("urlBelow", () => {
  it.each([
    ["https://h/d", "a b/c#1", "https://h/d/a%20b/c%231"],
    ["https://h/d/", "a", "https://h/d/a"],
    ["https://h/d?key=1", "a", "https://h/d/a?key=1"],
    ["https://h/d?key=1", "", "https://h/d?key=1"],
    ["https://h/d/", "a:b@c,d;e", "https://h/d/a:b@c,d;e"],
  ])("of %s and '%s'", (base, path, url) => {
    expect(urlBelow(base, path)).toBe(url);
  });
});

describe("shownUrl", () => {
  it("shows neither query nor credentials nor control characters, and no more than a line", () => {
    expect(shownUrl("https://me:secret@h/x?token=secret#secret")).toBe("https://…@h/x");
    expect(shownUrl("https://h/\u001b[31mred")).toBe("https://h/\ufffd[31mred");
    expect(shownUrl(`https://h/${"x".repeat(400)}`)).toHaveLength(301);
  });
});

describe("addresses", () => {
  it.each([
    ["8.8.8.8", "public"],
    ["2001:4860::8888", "public"],
    ["::ffff:127.0.0.1", "loopback"],
    ["fe80::1%eth0", "link-local"],
    ["::1%lo", "reserved"],
    ["no address", "reserved"],
  ])("%s is %s", (address, kind) => {
    expect(addressKind(address)).toBe(kind);
  });

  it.each(["10.0.0.0/33", "fd00::/129", "10.0.0.0/8/8", "10.0.0.0/x", "fe80::1%eth0", "host", ""])(
    "'%s' is no network",
    (text) => {
      expect(parseNetwork(text)).toBeUndefined();
    },
  );

  it("are looked up in a network of their own family, or as the IPv4 address that an IPv6 one carries", () => {
    const [four, six] = [parseNetwork("10.0.0.0/8"), parseNetwork("fd00::/8")];
    if (!four || !six) throw new Error("no networks");
    const within = (address: string) => [inNetwork(address, four), inNetwork(address, six)];
    expect(within("10.1.2.3")).toEqual([true, false]);
    expect(within("::ffff:10.1.2.3")).toEqual([true, false]);
    expect(within("64:ff9b::10.1.2.3")).toEqual([true, false]);
    expect(within("fd12::1")).toEqual([false, true]);
    expect(within("2001:db8::1")).toEqual([false, false]);
    expect(within("fd12::1%eth0")).toEqual([false, false]);
    expect(within("host")).toEqual([false, false]);
  });
});
