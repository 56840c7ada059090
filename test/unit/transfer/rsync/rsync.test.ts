import { describe, expect, it } from "vitest";
import { rsyncFault } from "../../../../src/transfer/rsync/faults.ts";
import { partialDirectory } from "../../../../src/transfer/rsync/options.ts";
import { plainName, serverCommand } from "../../../../src/transfer/rsync/program.ts";
import { readVersion } from "../../../../src/transfer/rsync/versions.ts";

describe("the command for a remote", () => {
  it("is rsync's own server with protected arguments, as versions 3.1 to 3.5 ask for it", () => {
    for (const words of [
      ["there", "rsync", "--server", "--sender", "-sLtIRe.LsfxCIvu"],
      ["there", "rsync", "--server", "-sIRe.LsfxCIvu"],
      ["there", "rsync", "--server", "--sender", "-se.iLsfxC"],
      ["there", "rsync", "--server", "-se31.14iLsf"],
    ]) {
      expect(serverCommand(words)).toEqual(words.slice(1));
    }
  });

  it("is nothing else", () => {
    for (const words of [
      [],
      ["there", "sh", "-c", "id"],
      ["there", "rsync", "--daemon"],
      ["there", "rsync", "--server", "-LtIRe.LsfxCIvu", ".", "/etc/passwd"],
      ["there", "rsync", "--server", "--sender", "-s", "; id"],
      ["there", "rsync", "--server", "-s; id"],
      ["there", "rsync", "--server", "--sender"],
      ["-l", "user", "there", "rsync", "--server", "-se.iLsfxC"],
    ]) {
      expect(serverCommand(words)).toBeUndefined();
    }
  });
});

it("names are read as rsync writes them", () => {
  for (const [shown, name] of [
    ["a b", "a b"],
    ["\\#303\\#244\\#134#123 \\#303\\#266", "ä\\#123 ö"],
    ["back\\slash #12", "back\\slash #12"],
  ] as const) {
    expect(plainName(shown)).toBe(name);
  }
});

it("the directory for partial files has none of the names that are moved", () => {
  expect(partialDirectory(["a/b"])).toBe(".part-rsync");
  expect(partialDirectory(["a/.part-rsync/b", ".part-rsync-"])).toBe(".part-rsync--");
});

describe("a version of rsync", () => {
  it("is read, and told when it cannot be used", () => {
    expect(readVersion("rsync  version 3.2.7  protocol version 31\n")).toMatchObject({ text: "3.2.7" });
    expect(readVersion("rsync  version v3.4.1  protocol version 32\n")).toMatchObject({ text: "3.4.1" });
    for (const [output, words] of [
      ["openrsync: protocol version 29, rsync version 2.6.9 compatible", /openrsync/],
      ["rsync  version 2.6.9  protocol version 29", /3\.1 is needed/],
      ["", /does not say/],
    ] as const) {
      expect(readVersion(output)).toMatch(words);
    }
  });
});

describe("the end of rsync", () => {
  const end = { exitCode: 0, words: "", remote: { exitCode: 0, stderr: "" }, label: "far" };

  it("is good when both ends say so", () => {
    expect(rsyncFault(end, "'x'")).toBeUndefined();
    expect(rsyncFault({ ...end, remote: undefined }, "'x'")).toBeUndefined();
  });

  it.each([
    [2, "protocol version mismatch -- is your shell clean?", { code: "UNSUPPORTED" }],
    [
      11,
      'rsync: write failed on "x": No space left on device (28)',
      { code: "TRANSFER", details: { errno: "ENOSPC" } },
    ],
    [11, "mkstemp failed: Disk quota exceeded (122)", { code: "TRANSFER", details: { errno: "ENOSPC" } }],
    [
      12,
      "connection unexpectedly closed (8 bytes received so far) [sender]",
      { code: "TRANSFER", details: { rsync: 12 } },
    ],
    [20, "received SIGINT, SIGTERM, or SIGHUP", { code: "TRANSFER", details: { rsync: 20 } }],
    [23, 'send_files failed to open "x": Permission denied (13)', { code: "TRANSFER_REFUSED", details: { rsync: 23 } }],
    [
      23,
      'link_stat "x" failed: No such file or directory (2)',
      { code: "TRANSFER", details: { source_changed: true } },
    ],
    [24, 'file has vanished: "x"', { code: "TRANSFER", details: { source_changed: true } }],
    [30, "io timeout after 300 seconds -- exiting", { code: "TRANSFER", details: { rsync: 30 } }],
    [undefined, "", { code: "TRANSFER", message: expect.stringContaining("killed") as unknown }],
  ])("with %s is told in its words: %s", (exitCode, words, expected) => {
    const fault = rsyncFault({ ...end, exitCode, words }, "'x'");
    expect(fault).toMatchObject(expected);
    expect(fault?.message).toContain("'x'");
    if (words !== "") expect(fault?.message).toContain(words.slice(0, 20));
  });

  it("is that of the other end when this one has not heard of it", () => {
    const stderr = 'rsync: [sender] link_stat "x" failed: No such file or directory (2)';
    expect(rsyncFault({ ...end, remote: { exitCode: 23, stderr } }, "'x'")).toMatchObject({
      details: { source_changed: true },
    });
    const none = { exitCode: 127, stderr: "env: 'rsync': No such file or directory" };
    expect(rsyncFault({ ...end, exitCode: 12, remote: none }, "'x'")).toMatchObject({ code: "UNSUPPORTED" });
  });
});
