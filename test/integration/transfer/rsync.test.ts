import { execFileSync } from "node:child_process";
import { mkdir, readdir, readFile, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";
import { newToken } from "../../../src/common/token.ts";
import { probeRsync } from "../../../src/transfer/rsync/probe.ts";
import type { BulkTransfer, RemoteFile, TransferContext, TransferEngine } from "../../../src/transfer/types.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { temporaryDirectory, type TemporaryDirectory } from "../../helpers/temporary.ts";
import { loginWith, rsyncHarness } from "./rsync-harness.ts";
import {
  digestTree,
  faultOf,
  item,
  namesBelow,
  request,
  sha256,
  startEngine,
  testContext,
  writeTree,
} from "./setup.ts";
import type { SftpHarness } from "./sftp-harness.ts";

failOnLeakedProcesses();

const mebibyte = 1024 * 1024;
const data = Buffer.alloc(3 * mebibyte + 17, "ACGTTGCA-reads-");

/** Requests have time limits of their own, by the real clock. */
const context = testContext({ clock: systemClock });
const retry = { tries: 3, backoff: { baseMs: 1, capMs: 10 } };

function engineOf(far: SftpHarness): TransferEngine {
  return startEngine({ policy: far.policy, access: far.find, retry });
}

function bulkOf({ adapter }: SftpHarness): BulkTransfer {
  if (!adapter.bulk) throw new Error("it moves nothing in bulk");
  return adapter.bulk;
}

/** Fetches what was listed, and says what has arrived. */
async function fetchListed(
  far: SftpHarness,
  here: TemporaryDirectory,
  listed: readonly RemoteFile[],
): Promise<string[]> {
  const arrived: string[] = [];
  const arrive = async ({ path }: RemoteFile): Promise<void> => {
    arrived.push(path);
  };
  await bulkOf(far).fetch(far.url("run"), listed, here.path, arrive, context, { token: newToken() });
  return arrived.toSorted();
}

async function send(
  engine: TransferEngine,
  here: TemporaryDirectory,
  source: string,
  target: string,
): Promise<unknown> {
  const items = [item({ source, target })];
  return await engine.run(request({ direction: "out", root: here.path, items }), context);
}

describeWithEngine("rsync", "trees by rsync", () => {
  it("brings files, trees and globs here and back, whatever their names, verified by digest at both ends", async () => {
    await using far = await rsyncHarness();
    await using here = await temporaryDirectory();
    const names = [
      "a.txt",
      "-e sh",
      "# no comment",
      "; nor this",
      'it\'s "$(id)" *?[x]',
      "sub/deep/ä ö.dat",
      ".hidden",
      "empty",
    ];
    for (const name of names) await far.put(`run/${name}`, name === "empty" ? "" : `of ${name}`);
    await far.put("run/.part-rsync/own", "a name that rsync's partial files have");
    await far.put("run/large", data);
    await symlink("sub/deep", far.path("run/link"));
    await using engine = engineOf(far);
    const items = [
      item({ name: "tree", kind: "directory", source: far.url("run"), target: "tree" }),
      item({ name: "some", kind: "glob", source: `${far.url("run")}/*.txt`, target: "some" }),
      item({ name: "one", source: far.url("run/large"), target: "one" }),
    ];
    const { manifest } = await engine.run(request({ direction: "in", root: here.path, items }), context);
    const expected = await digestTree(far.path("run"));
    expect(await digestTree(here.join("tree"))).toEqual({
      ...expected,
      "link/ä ö.dat": sha256("of sub/deep/ä ö.dat"),
    });
    expect(await digestTree(here.join("some"))).toEqual({ "a.txt": sha256("of a.txt") });
    expect(sha256(await readFile(here.join("one")))).toBe(sha256(data));
    expect(new Set(manifest.map(({ verified }) => verified))).toEqual(new Set(["digest"]));
    expect((await readdir(here.path)).toSorted()).toEqual(["one", "some", "tree"]);
    const back = [
      item({ name: "tree", kind: "directory", source: "tree", target: far.url("new/back/") }),
      item({ name: "one", source: "one", target: far.url("new/one too") }),
    ];
    const out = await engine.run(request({ direction: "out", root: here.path, items: back }), context);
    expect(new Set(out.manifest.map(({ verified }) => verified))).toEqual(new Set(["digest"]));
    expect(await digestTree(far.path("new/back"))).toEqual(await digestTree(here.join("tree")));
    expect(sha256(await readFile(far.path("new/one too")))).toBe(sha256(data));
    expect((await readdir(far.path("new"))).toSorted()).toEqual(["back", "one too"]);
    expect((await readdir(far.path("new/back"))).filter((name) => name.includes(".part-"))).toEqual([".part-rsync"]);
  });

  it("is said by the doctor with its versions at both ends", async () => {
    await using far = await rsyncHarness();
    const version = expect.stringMatching(/^rsync 3\.\S+ there and 3\.\S+ here; .*sha256sum there$/) as unknown;
    expect(await probeRsync(far.access, far.url(""), context)).toEqual({ ok: true, version });
    expect(await probeRsync(far.access, far.url("none"), context)).toMatchObject({ ok: false });
  });

  it("moves the difference alone to a file of which another version lies there", async () => {
    await using far = await rsyncHarness({}, { proxied: true });
    await using here = await temporaryDirectory();
    const size = 8 * mebibyte;
    const content = Buffer.from(Array.from({ length: size }, (_, index) => (index * index + (index >> 8)) % 256));
    await writeTree(here.path, { x: content });
    await using engine = engineOf(far);
    await send(engine, here, "x", far.url("x"));
    const first = far.proxy?.bytes ?? 0;
    expect(first).toBeGreaterThan(size / 2);
    content.write("changed", 5 * mebibyte);
    await writeFile(here.join("x"), content);
    await send(engine, here, "x", far.url("x"));
    expect(await far.digest("x")).toBe(sha256(content));
    expect((far.proxy?.bytes ?? 0) - first).toBeLessThan(mebibyte);
    const second = far.proxy?.bytes ?? 0;
    await send(engine, here, "x", far.url("x")); // what is there with this content is not sent
    expect((far.proxy?.bytes ?? 0) - second).toBeLessThan(mebibyte / 4);
  });

  it("takes permissions and times along if the site file says so, and trusts sizes if it says that", async () => {
    await using far = await rsyncHarness({}, { preserve: true, verify: "size" });
    await using here = await temporaryDirectory();
    await writeTree(here.path, { "d/run": "#!/bin/sh\n" });
    execFileSync("chmod", ["750", here.join("d/run")]);
    await utimes(here.join("d/run"), 1_000_000_000, 1_000_000_000);
    await using engine = engineOf(far);
    const items = [item({ kind: "directory", source: "d", target: far.url("d/") })];
    const { manifest } = await engine.run(request({ direction: "out", root: here.path, items }), context);
    expect(manifest).toMatchObject([{ verified: "size" }]);
    const { mode, mtimeMs } = await stat(far.path("d/run"));
    expect([mode & 0o777, mtimeMs]).toEqual([0o750, 1_000_000_000_000]);
    const back = [item({ kind: "directory", source: far.url("d"), target: "e" })];
    await engine.run(request({ direction: "in", root: here.path, items: back }), context);
    expect(await digestTree(here.join("e"))).toEqual({ run: sha256("#!/bin/sh\n") });
  });

  it("keeps to the remote's bandwidth, and is ended by its job", async () => {
    await using far = await rsyncHarness();
    await using here = await temporaryDirectory();
    // What lies in the channel's window when the job ends, 2 MiB at most, may come in one piece.
    const large = Buffer.concat([data, data, data]);
    await far.put("run/x", large);
    const listed = await far.adapter.list(far.url("run"), "directory", context);
    let bytes = 0;
    const stopper = new AbortController();
    const remote: TransferContext["remote"] = {
      begin: async () => {},
      flow: async (more) => {
        bytes += more;
        if (bytes > mebibyte) stopper.abort();
      },
      done: () => {},
      failed: () => false,
    };
    const own = { ...context, remote, signal: stopper.signal };
    const fetching = bulkOf(far).fetch(far.url("run"), listed, here.path, async () => {}, own, { token: newToken() });
    expect(await faultOf(fetching)).toMatchObject({ code: "CANCELLED" });
    expect(bytes).toBeLessThan(large.length);
    expect(await readdir(here.path)).not.toContain("x");
  });

  it("F4: a file that lies at a destination is replaced in one step, or refused; a directory is never replaced", async () => {
    await using here = await temporaryDirectory();
    await writeTree(here.path, { x: data });
    for (const existing of ["replace", "refuse"] as const) {
      await using far = await rsyncHarness({}, { existing });
      await far.put("x", "old");
      await mkdir(far.path("d"));
      await using engine = engineOf(far);
      expect(await faultOf(send(engine, here, "x", far.url("d")))).toMatchObject({ code: "UNSAFE_PATH" });
      if (existing === "refuse") {
        expect(await faultOf(send(engine, here, "x", far.url("x")))).toMatchObject({ code: "TRANSFER_REFUSED" });
        expect(await far.get("x")).toEqual(Buffer.from("old"));
        await far.put("x", data); // the same content is no other
      }
      await send(engine, here, "x", far.url("x"));
      expect(await far.digest("x")).toBe(sha256(data));
      expect((await readdir(far.path(""))).toSorted()).toEqual(["d", "x"]);
    }
  });

  it("F6: what has changed or gone since it was listed does not come; the rest does", async () => {
    await using far = await rsyncHarness();
    await using here = await temporaryDirectory();
    for (const name of ["same", "longer", "gone"]) await far.put(`run/${name}`, name);
    const listed = await far.adapter.list(far.url("run"), "directory", context);
    await far.put("run/longer", "longer than it was");
    await rm(far.path("run/gone"));
    expect(await fetchListed(far, here, listed)).toEqual(["same"]);
    await far.put("run/gone", "gone");
    await using engine = engineOf(far);
    const items = [item({ kind: "directory", source: far.url("run"), target: "t" })];
    await engine.run(request({ direction: "in", root: here.path, items }), context);
    expect(await digestTree(here.join("t"))).toEqual(await digestTree(far.path("run")));
  });

  it("F7: a digest that is not the promised one is told with both digests, and nothing has the final name", async () => {
    await using far = await rsyncHarness();
    await using here = await temporaryDirectory();
    await far.put("x", data);
    await using engine = engineOf(far);
    const promised = sha256("something else");
    const items = [item({ source: far.url("x"), target: "x", expectedSha256: promised })];
    const fault = await faultOf(engine.run(request({ direction: "in", root: here.path, items }), context));
    expect(fault).toMatchObject({ code: "DIGEST_MISMATCH", details: { expected: promised, actual: sha256(data) } });
    expect(await namesBelow(here.path)).not.toContain("x");
  });

  it("F8: names and links that lead elsewhere, or are no text, are refused; nothing leaves the rule's directory", async () => {
    await using far = await rsyncHarness();
    await using here = await temporaryDirectory();
    await using engine = engineOf(far);
    for (const [index, script] of [
      "ln -s /etc/passwd x",
      "mkfifo x",
      "touch \"$(printf 'x\\377y')\"",
      "touch \"$(printf 'x\\ny')\"",
    ].entries()) {
      await mkdir(far.path(`t${index}`));
      execFileSync("sh", ["-c", `cd "$0" && ${script}`, far.path(`t${index}`)]);
      const items = [item({ kind: "directory", source: far.url(`t${index}`), target: "t" })];
      const fault = await faultOf(engine.run(request({ direction: "in", root: here.path, items }), context));
      expect(fault).toMatchObject({ code: "UNSAFE_PATH" });
    }
    // A link that was put there after the listing.
    await far.put("run/x", "root");
    const listed = await far.adapter.list(far.url("run"), "directory", context);
    await rm(far.path("run/x"));
    await symlink("/etc/passwd", far.path("run/x"));
    expect(await faultOf(fetchListed(far, here, listed))).toMatchObject({ code: "UNSAFE_PATH" });
    await mkdir(far.server.directory.join("outside"));
    await symlink(far.server.directory.join("outside"), far.path("way"));
    await writeTree(here.path, { x: "x" });
    for (const name of ["way/x", "way/new/x"]) {
      expect(await faultOf(send(engine, here, "x", far.url(name)))).toMatchObject({ code: "UNSAFE_PATH" });
    }
    expect(await readdir(far.server.directory.join("outside"))).toEqual([]);
  });

  it("F9: few sessions: all the same every file is moved and verified", async () => {
    await using far = await rsyncHarness({ directives: ["MaxSessions 1"] });
    await using here = await temporaryDirectory();
    await writeTree(far.path(""), Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`run/${n}`, `file ${n}`])));
    await using engine = engineOf(far);
    const items = [item({ kind: "directory", source: far.url("run"), target: "t" })];
    await engine.run(request({ direction: "in", root: here.path, items }), context);
    const back = [item({ kind: "directory", source: "t", target: far.url("back/") })];
    await engine.run(request({ direction: "out", root: here.path, items: back }), context);
    expect(await digestTree(far.path("back"))).toEqual(await digestTree(far.path("run")));
    expect(far.server.log.match(/Accepted publickey/g)?.length).toBeLessThanOrEqual(2);
  });
});

describeWithEngine("rsync", "a remote whose rsync cannot be used", () => {
  it.each([
    ["that has none", undefined, /not installed/],
    ["with the one of macOS", "#!/bin/sh\necho 'openrsync: protocol version 29'\n", /openrsync/],
    [
      "with one that is too old",
      "#!/bin/sh\necho 'rsync  version 3.0.9  protocol version 30'\n",
      /3\.0\.9, 3\.1 is needed/,
    ],
  ])("%s is refused with the remedy", async (_, script, words) => {
    await using there = await temporaryDirectory();
    await using far = await rsyncHarness({ login: await loginWith(there, script) });
    await using here = await temporaryDirectory();
    await far.put("x", "x");
    await using engine = engineOf(far);
    const items = [item({ source: far.url("x"), target: "x" })];
    const fault = await faultOf(engine.run(request({ direction: "in", root: here.path, items }), context));
    expect(fault.message).toMatch(words);
    const hint = expect.stringContaining("install rsync 3.1") as unknown;
    expect(fault).toMatchObject({ code: "UNSUPPORTED", hint });
    const reason = expect.stringMatching(words) as unknown;
    expect(await probeRsync(far.access, far.url(""), context)).toMatchObject({ ok: false, reason, hint });
  });

  it("says what it says, and how it ended, when it fails", async () => {
    await using there = await temporaryDirectory();
    const script =
      '#!/bin/sh\n[ "$1" = --version ] && exec /usr/bin/rsync --version\necho "the tape robot is on strike" >&2\nexit 14\n';
    await using far = await rsyncHarness({ login: await loginWith(there, script) });
    await using here = await temporaryDirectory();
    await far.put("x", "x");
    await using engine = engineOf(far);
    const items = [item({ source: far.url("x"), target: "x" })];
    const fault = await faultOf(engine.run(request({ direction: "in", root: here.path, items }), context));
    expect(fault).toMatchObject({ code: "TRANSFER", message: expect.stringContaining("tape robot") as unknown });
    expect(await namesBelow(here.path)).not.toContain("x");
  });
});

describeWithEngine("rsync", "a remote that does something else meanwhile", () => {
  const around = (before: string, after = ""): string =>
    `#!/bin/sh\n[ "$1" = --version ] && exec /usr/bin/rsync --version\n${before}\n/usr/bin/rsync "$@"\nc=$?\n${after}\nexit $c\n`;

  it("F6: what vanishes under rsync's hands is told as a source that has changed; the rest arrives", async () => {
    await using there = await temporaryDirectory();
    await using far = await rsyncHarness({ login: await loginWith(there, around("/bin/rm gone")) });
    await using here = await temporaryDirectory();
    for (const name of ["one", "gone", "other"]) await far.put(`run/${name}`, name);
    const listed = await far.adapter.list(far.url("run"), "directory", context);
    const arrived: string[] = [];
    const arrive = async ({ path }: RemoteFile): Promise<void> => {
      arrived.push(path);
    };
    const info = { token: newToken() };
    const fetching = bulkOf(far).fetch(far.url("run"), listed, here.path, arrive, context, info);
    expect(await faultOf(fetching)).toMatchObject({ code: "TRANSFER", details: { source_changed: true } });
    expect(arrived.toSorted()).toEqual(["one", "other"]);
  });

  it("F7: an output that is altered there after rsync was content never has its final name", async () => {
    await using there = await temporaryDirectory();
    await using far = await rsyncHarness({ login: await loginWith(there, around("", "printf altered >x")) });
    await using here = await temporaryDirectory();
    await writeTree(here.path, { x: "what is sent" });
    await far.put("x", "what was there");
    await using engine = engineOf(far);
    const actual = sha256("altered");
    const expected = { code: "DIGEST_MISMATCH", details: { expected: sha256("what is sent"), actual } };
    expect(await faultOf(send(engine, here, "x", far.url("x")))).toMatchObject(expected);
    expect(await far.get("x")).toEqual(Buffer.from("what was there"));
  });
});

describeWithEngine(["rsync", "mount"], "a remote whose disk is full, by rsync", () => {
  it("F5: is said as such, and nothing has the final name", async () => {
    await using far = await rsyncHarness({ smallDisk: 2 * mebibyte });
    await using here = await temporaryDirectory();
    await writeTree(here.path, { x: data });
    const rule = `rsync://far${far.server.directory.join("small")}/`;
    await using engine = startEngine({ policy: { sources: [], destinations: [rule] }, access: far.find });
    const fault = await faultOf(send(engine, here, "x", `${rule}x`));
    expect(fault).toMatchObject({ code: "TRANSFER", details: { errno: "ENOSPC" } });
    expect(await readdir(far.server.seen("small"))).not.toContain("x");
  });
});
