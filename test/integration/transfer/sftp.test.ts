import { execFileSync } from "node:child_process";
import {
  appendFile,
  chmod,
  link,
  mkdir,
  readdir,
  readFile,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { describe, expect, it } from "vitest";
import type { SFTPWrapper } from "ssh2";
import { systemClock } from "../../../src/common/clock.ts";
import type { SftpAccess } from "../../../src/transfer/sftp/types.ts";
import type { TransferEngine } from "../../../src/transfer/types.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { makeKey } from "../../helpers/engines/ssh-server.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import {
  digestTree,
  faultOf,
  item,
  namesBelow,
  request,
  sha256,
  startEngine,
  testCache,
  testContext,
  writeTree,
} from "./setup.ts";
import { type SftpHarness, sftpHarness } from "./sftp-harness.ts";

const mebibyte = 1024 * 1024;
/** Of several requests, and not of whole ones. */
const data = Buffer.alloc(3 * mebibyte + 17, "ACGTTGCA-reads-");

/** Requests have time limits of their own, by the real clock. */
const context = testContext({ clock: systemClock });
const retry = { tries: 5, backoff: { baseMs: 1, capMs: 10 } };

function engineOf(far: SftpHarness): TransferEngine {
  return startEngine({ policy: far.policy, access: far.find, filesPerHost: 16, retry });
}

/** Alters the first byte of whatever is written. */
function altering(access: SftpAccess): SftpAccess {
  const { files } = access;
  const alter = (sftp: SFTPWrapper): SFTPWrapper =>
    new Proxy(sftp, {
      get(target, name) {
        if (name !== "write") return Reflect.get(target, name, target);
        return (...[handle, buffer, ...rest]: Parameters<SFTPWrapper["write"]>): void => {
          const other = Buffer.from(buffer);
          other.writeUInt8(other.readUInt8(0) ^ 1, 0);
          target.write(handle, other, ...rest);
        };
      },
    });
  return {
    ...access,
    files: {
      call: (context, begin) => files.call(context, (sftp, done) => begin(alter(sftp), done)),
      maybe: (context, begin) => files.maybe(context, begin),
      extension: (context, begin) => files.extension(context, begin),
    },
  };
}

function partials(names: readonly string[]): readonly string[] {
  return names.filter((name) => name.includes(".part-"));
}

describeWithEngine("sshd", "files by SFTP", () => {
  it("brings a file here and back there, verified by digest at both ends", async () => {
    await using far = await sftpHarness();
    await using here = await temporaryDirectory();
    await far.put("a file.bin", data);
    await using engine = engineOf(far);
    const incoming = request({
      direction: "in",
      root: here.path,
      items: [item({ source: far.url("a file.bin"), target: "x" })],
    });
    const { manifest } = await engine.run(incoming, context);
    const expected = { path: "x", bytes: data.length, sha256: sha256(data), verified: "digest" };
    expect(manifest).toMatchObject([{ ...expected, url: far.url("a file.bin") }]);
    expect(sha256(await readFile(here.join("x")))).toBe(sha256(data));
    const outgoing = request({
      direction: "out",
      root: here.path,
      items: [item({ source: "x", target: far.url("new/dir/") })],
    });
    const sent = await engine.run(outgoing, context);
    expect(sent.manifest).toMatchObject([{ ...expected, url: far.url("new/dir/x") }]);
    expect(await far.digest("new/dir/x")).toBe(sha256(data));
    expect(partials(await namesBelow(far.path("")))).toEqual([]);
    // Nothing is moved twice.
    const again = await engine.run({ ...outgoing, token: request(outgoing).token }, context);
    expect(again).toMatchObject({ movedBytes: 0 });
  });

  it("reads back what it has sent where no command runs, and trusts sizes where the site file says so", async () => {
    for (const [change, directives, verified] of [
      [{}, ["ForceCommand internal-sftp"], { in: "size", out: "digest" }],
      [{ shell: false }, [], { in: "size", out: "digest" }],
      [{ verify: "size" }, [], { in: "size", out: "size" }],
      [{ verify: "sample" }, [], { in: "size", out: "sample" }],
      [{ verify: "sample" }, ["ForceCommand internal-sftp"], { in: "size", out: "sample" }],
    ] as const) {
      await using far = await sftpHarness({ directives }, change);
      await using here = await temporaryDirectory();
      await far.put("x", data);
      await using engine = engineOf(far);
      const items = [item({ source: far.url("x"), target: "x" })];
      const incoming = await engine.run(request({ direction: "in", root: here.path, items }), context);
      expect(incoming.manifest).toMatchObject([{ bytes: data.length, verified: verified.in }]);
      const back = [item({ source: "x", target: far.url("y") })];
      const outgoing = await engine.run(request({ direction: "out", root: here.path, items: back }), context);
      expect(outgoing.manifest).toMatchObject([{ sha256: sha256(data), verified: verified.out }]);
      expect(await far.digest("y")).toBe(sha256(data));
    }
  });

  it("F7: ranges that are read back tell what the line has altered, and such a file gets no name", async () => {
    await using far = await sftpHarness({}, { verify: "sample" });
    await using here = await temporaryDirectory();
    await writeTree(here.path, { x: data });
    await using engine = startEngine({
      policy: far.policy,
      access: () => altering(far.access),
      filesPerHost: 1,
      retry,
    });
    const items = [item({ source: "x", target: far.url("y") })];
    const fault = await faultOf(engine.run(request({ direction: "out", root: here.path, items }), context));
    expect(fault).toMatchObject({ code: "DIGEST_MISMATCH", message: expect.stringContaining("bytes 0 to 65536 of") });
    expect(await readdir(far.path(""))).toEqual([]);
  });

  it("takes permissions and times along if the site file says so", async () => {
    await using far = await sftpHarness({}, { preserve: true });
    await using here = await temporaryDirectory();
    await writeTree(here.path, { run: "#!/bin/sh\n" });
    await chmod(here.join("run"), 0o750);
    await utimes(here.join("run"), 1_000_000_000, 1_000_000_000);
    await using engine = engineOf(far);
    const items = [item({ source: "run", target: far.url("run") })];
    await engine.run(request({ direction: "out", root: here.path, items }), context);
    const { mode, mtimeMs } = await stat(far.path("run"));
    expect([mode & 0o777, mtimeMs]).toEqual([0o750, 1_000_000_000_000]);
  });

  it("gives inputs their permissions and times as well, also from the cache, and not without being asked", async () => {
    for (const preserve of [true, false]) {
      await using far = await sftpHarness({}, { preserve });
      await using here = await temporaryDirectory();
      await far.put("tree/run", "#!/bin/sh\n");
      await far.put("tree/kept", "x");
      await chmod(far.path("tree/run"), 0o750);
      await chmod(far.path("tree/kept"), 0o440);
      for (const name of ["run", "kept"]) await utimes(far.path(`tree/${name}`), 1_000_000_000, 1_000_000_000);
      const cache = testCache({ directory: here.join("cache") });
      await using engine = startEngine({ policy: far.policy, access: far.find, cache });
      const items = [item({ kind: "directory", source: far.url("tree"), target: "t" })];
      for (const [job, bytes] of [
        ["one", 11],
        ["two", 0],
      ] as const) {
        const staging = request({ direction: "in", root: here.join(job), items });
        const outcome = await engine.run(staging, context);
        expect(outcome.movedBytes).toBe(bytes);
        const [kept, run] = await Promise.all(["kept", "run"].map((name) => stat(here.join(`${job}/t/${name}`))));
        const modes = [kept, run].map((stats) => (stats?.mode ?? 0) & 0o777);
        if (!preserve) expect(modes).not.toContain(0o440);
        else {
          expect(modes).toEqual([0o440, 0o750]);
          expect(outcome.manifest.map(({ mtimeMs }) => mtimeMs)).toEqual([1_000_000_000_000, 1_000_000_000_000]);
        }
        // Known as they are now, they are not moved again.
        const again = await engine.run({ ...staging, known: outcome.manifest }, context);
        expect([again.movedBytes, again.manifest]).toEqual([0, outcome.manifest]);
      }
    }
  });

  it("makes files of their own of hard links, and zeros of holes, both ways; nothing is lost", async () => {
    await using far = await sftpHarness();
    await using here = await temporaryDirectory();
    await far.put("tree/a", "the same");
    await link(far.path("tree/a"), far.path("tree/b"));
    await far.put("tree/hole", "begin");
    await truncate(far.path("tree/hole"), 3_000_000);
    await appendFile(far.path("tree/hole"), "end");
    await using engine = engineOf(far);
    const items = [item({ kind: "directory", source: far.url("tree"), target: "t" })];
    await engine.run(request({ direction: "in", root: here.join("in"), items }), context);
    const expected = await digestTree(far.path("tree"));
    expect(await digestTree(here.join("in/t"))).toEqual(expected);
    const [a, b] = await Promise.all(["a", "b"].map((name) => stat(here.join(`in/t/${name}`))));
    expect([a?.nlink, b?.nlink]).toEqual([1, 1]);
    await link(here.join("in/t/a"), here.join("in/t/c"));
    const back = [item({ kind: "directory", source: "t", target: far.url("back/") })];
    await engine.run(request({ direction: "out", root: here.join("in"), items: back }), context);
    expect(await digestTree(far.path("back"))).toEqual({ ...expected, c: sha256("the same") });
  });

  it("F4: a file that lies at a destination is replaced in one step, or refused; a directory is never replaced", async () => {
    await using far = await sftpHarness();
    await using here = await temporaryDirectory();
    await writeTree(here.path, { x: data });
    await far.put("x", "old");
    await mkdir(far.path("d"));
    await using engine = engineOf(far);
    const send = (name: string): Promise<unknown> =>
      engine.run(
        request({ direction: "out", root: here.path, items: [item({ source: "x", target: far.url(name) })] }),
        context,
      );
    await send("x");
    expect(await far.digest("x")).toBe(sha256(data));
    expect(await faultOf(send("d"))).toMatchObject({ code: "TRANSFER_REFUSED" });
    await using strict = await sftpHarness({}, { existing: "refuse" });
    await strict.put("x", "old");
    await using other = engineOf(strict);
    const items = [item({ source: "x", target: strict.url("x") })];
    const refused = await faultOf(other.run(request({ direction: "out", root: here.path, items }), context));
    expect(refused).toMatchObject({
      code: "TRANSFER_REFUSED",
      message: expect.stringContaining("another content") as unknown,
    });
    expect(await strict.get("x")).toEqual(Buffer.from("old"));
    await strict.put("x", data); // the same content is no other
    await other.run(request({ direction: "out", root: here.path, items }), context);
  });

  it("F6: a source that changes while it is copied is noticed, and copied anew", async () => {
    for (const options of [{}, { directives: ["ForceCommand internal-sftp"] }]) {
      await using far = await sftpHarness(options);
      await using here = await temporaryDirectory();
      const large = Buffer.alloc(12 * mebibyte, "old.");
      await far.put("x", large);
      await utimes(far.path("x"), 1_000_000_000, 1_000_000_000);
      await using engine = engineOf(far);
      let changed = false;
      const changing = request({
        direction: "in",
        root: here.path,
        items: [item({ source: far.url("x"), target: "x" })],
        onProgress: ({ bytes }) => {
          if (changed || bytes === 0) return;
          changed = true;
          // In place, as a program does that is still writing: the size stays.
          execFileSync("sh", ["-c", 'printf "new!" | dd of="$0" bs=4 seek=1 conv=notrunc status=none', far.path("x")]);
        },
      });
      const { manifest } = await engine.run(changing, context);
      expect(changed).toBe(true);
      const now = await readFile(far.path("x"));
      expect(manifest).toMatchObject([{ sha256: sha256(now) }]);
      expect(sha256(await readFile(here.join("x")))).toBe(sha256(now));
    }
  });

  it("F6: a source that is cut while it is copied ends in no file", async () => {
    await using far = await sftpHarness({ directives: ["ForceCommand internal-sftp"] });
    await far.put("x", Buffer.alloc(12 * mebibyte));
    const listed = await far.adapter.list(far.url("x"), "file", context);
    const [file] = listed;
    if (!file) throw new Error("not listed");
    const reading = (async () => {
      let first = true;
      for await (const _chunk of await far.adapter.read(far.url("x"), file, 0, context)) {
        if (first) await truncate(far.path("x"), 100);
        first = false;
      }
    })();
    expect(await faultOf(reading)).toMatchObject({ code: "TRANSFER", details: { source_changed: true } });
  });

  it("F7: a digest that is not the promised one is tried once more, then told with both digests", async () => {
    await using far = await sftpHarness();
    await using here = await temporaryDirectory();
    await far.put("x", data);
    await using engine = engineOf(far);
    const promised = sha256("something else");
    const items = [item({ source: far.url("x"), target: "x", expectedSha256: promised })];
    const fault = await faultOf(engine.run(request({ direction: "in", root: here.path, items }), context));
    expect(fault).toMatchObject({ code: "DIGEST_MISMATCH", details: { expected: promised, actual: sha256(data) } });
    expect(await namesBelow(here.path)).toEqual([]);
  });

  it("tells that nothing is there, that it is denied, and that a required tree is empty", async () => {
    await using far = await sftpHarness();
    await using here = await temporaryDirectory();
    await mkdir(far.path("empty"));
    await using engine = engineOf(far);
    const fetch = (source: string, kind: "file" | "directory", required = true): Promise<unknown> =>
      engine.run(
        request({
          direction: "in",
          root: here.path,
          items: [item({ source: far.url(source), target: "t", kind, required })],
        }),
        context,
      );
    for (const [source, kind] of [
      ["nothing", "file"],
      ["nothing", "directory"],
      ["empty", "directory"],
    ] as const) {
      const fault = await faultOf(fetch(source, kind));
      expect(fault).toMatchObject({ code: "TRANSFER_REFUSED", details: { missing: true } });
      expect(await fetch(source, kind, false)).toMatchObject({ missing: ["data"] });
    }
    await writeFile(far.path("locked"), "x", { mode: 0 });
    if (process.getuid?.() !== 0) {
      expect(await faultOf(fetch("locked", "file"))).toMatchObject({ code: "TRANSFER_REFUSED" });
    }
    const rootless = startEngine({
      policy: { sources: [], destinations: ["sftp://far/not/there/"] },
      access: far.find,
    });
    await writeTree(here.path, { x: "x" });
    const items = [item({ source: "x", target: "sftp://far/not/there/x" })];
    const fault = await faultOf(rootless.run(request({ direction: "out", root: here.path, items }), context));
    expect(fault).toMatchObject({
      code: "TRANSFER_REFUSED",
      message: expect.stringContaining("'/not/there'") as unknown,
    });
    await rootless[Symbol.asyncDispose]();
  });
});

describeWithEngine("sshd", "trees by SFTP", () => {
  it("brings trees and globs here, filtered, with their empty files, and back", async () => {
    await using far = await sftpHarness();
    await using here = await temporaryDirectory();
    const files = {
      "run/a.txt": "a",
      "run/sub/-b.txt": "b",
      "run/sub/deep/ä ö.dat": data,
      "run/empty": "",
      "run/x.log": "no",
    };
    for (const [name, content] of Object.entries(files)) await far.put(name, content);
    await symlink("sub/deep", far.path("run/link"));
    await using engine = engineOf(far);
    const items = [
      item({ name: "tree", kind: "directory", source: far.url("run"), target: "tree", exclude: ["*.log"] }),
      item({ name: "some", kind: "glob", source: `${far.url("run")}/**/*.txt`, target: "some" }),
    ];
    await engine.run(request({ direction: "in", root: here.path, items }), context);
    expect(await digestTree(here.path)).toEqual({
      "some/a.txt": sha256("a"),
      "some/sub/-b.txt": sha256("b"),
      "tree/a.txt": sha256("a"),
      "tree/empty": sha256(""),
      "tree/link/ä ö.dat": sha256(data),
      "tree/sub/-b.txt": sha256("b"),
      "tree/sub/deep/ä ö.dat": sha256(data),
    });
    const back = [item({ kind: "directory", source: "tree", target: far.url("back/") })];
    await engine.run(request({ direction: "out", root: here.path, items: back }), context);
    expect(await digestTree(far.path("back"))).toEqual(await digestTree(here.join("tree")));
  });

  it("F8: names and links that lead elsewhere, or are no text, are refused with the reason; nothing of them comes here", async () => {
    const refused: readonly (readonly [string, string, RegExp])[] = [
      ["a link out", "ln -s /etc/passwd x", /symbolic link that leaves its root/],
      ["a directory out", "ln -s /etc x && touch ok", /symbolic link that leaves its root/],
      ["a link to nothing", "ln -s nowhere x", /link to nothing/],
      ["a fifo", "mkfifo x", /fifo, socket or device/],
      ["a line end", "touch \"$(printf 'x\\ny')\"", /control character/],
      ["no UTF-8", "touch \"$(printf 'x\\377y')\"", /not valid UTF-8/],
      ["a backslash", "touch 'x\\y'", /backslash/],
      ["a twin", "touch x X", /collides/],
    ];
    await using far = await sftpHarness();
    await using here = await temporaryDirectory();
    await using engine = engineOf(far);
    for (const [index, [, script, reason]] of refused.entries()) {
      await mkdir(far.path(`t${index}`));
      execFileSync("sh", ["-c", `cd "$0" && ${script}`, far.path(`t${index}`)]);
      const items = [item({ kind: "directory", source: far.url(`t${index}`), target: "t" })];
      const fault = await faultOf(engine.run(request({ direction: "in", root: here.path, items }), context));
      expect(fault).toMatchObject({ code: "UNSAFE_PATH", message: expect.stringMatching(reason) as unknown });
    }
    for (const name of ["t0/x", "t3/x"]) {
      const items = [item({ source: far.url(name), target: "t" })];
      const fault = await faultOf(engine.run(request({ direction: "in", root: here.path, items }), context));
      expect(fault).toMatchObject({ code: "UNSAFE_PATH" });
    }
    for (const url of [`${far.url("t1")}/../../up`, far.url("t1").replace("far", "user:secret@far")]) {
      const items = [item({ source: url, target: "t" })];
      const fault = await faultOf(engine.run(request({ direction: "in", root: here.path, items }), context));
      expect(fault.code).toBe("POLICY");
      expect(fault.message).not.toContain("secret");
    }
    expect(await namesBelow(here.path)).toEqual([]);
  });

  it("F8: no output goes through a link that leaves the rule's directory", async () => {
    await using far = await sftpHarness();
    await using here = await temporaryDirectory();
    await mkdir(far.server.directory.join("outside"));
    await symlink(far.server.directory.join("outside"), far.path("way"));
    await symlink(far.server.directory.join("outside/x"), far.path("x"));
    await writeTree(here.path, { x: "x" });
    await using engine = engineOf(far);
    const send = (name: string): Promise<unknown> =>
      engine.run(
        request({ direction: "out", root: here.path, items: [item({ source: "x", target: far.url(name) })] }),
        context,
      );
    expect(await faultOf(send("way/x"))).toMatchObject({ code: "UNSAFE_PATH" });
    expect(await faultOf(send("way/new/x"))).toMatchObject({ code: "UNSAFE_PATH" });
    await send("x"); // the link itself is replaced
    expect(await readdir(far.server.directory.join("outside"))).toEqual([]);
    expect(await far.get("x")).toEqual(Buffer.from("x"));
  });

  it("F9: few sessions, and none for commands while files are served: all the same every file is moved and verified", async () => {
    for (const sessions of [1, 2]) {
      await using far = await sftpHarness({ directives: [`MaxSessions ${sessions}`] });
      await using here = await temporaryDirectory();
      const files = Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`run/${index}`, `file ${index}`]));
      await writeTree(far.path(""), { ...files, "run/large": data });
      await using engine = engineOf(far);
      const items = [item({ kind: "directory", source: far.url("run"), target: "." })];
      const { manifest } = await engine.run(request({ direction: "in", root: here.path, items }), context);
      expect(new Set(manifest.map(({ verified }) => verified))).toEqual(new Set(["digest"]));
      const back = [item({ kind: "directory", source: ".", target: far.url("back/") })];
      await engine.run(request({ direction: "out", root: here.path, items: back }), context);
      expect(await digestTree(far.path("back"))).toEqual(await digestTree(far.path("run")));
      expect(far.server.log.match(/Accepted publickey/g)?.length).toBeLessThanOrEqual(2);
    }
  });
});

describeWithEngine("sshd", "a remote that cannot be used", () => {
  it("F1, F2: with a key that is not known, or another one: refused with the fingerprint, by one connection, as worth another try later", async () => {
    await using far = await sftpHarness();
    await using here = await temporaryDirectory();
    await far.put("x", data);
    await using engine = engineOf(far);
    const items = [item({ source: far.url("x"), target: "x" })];
    await makeKey(far.server.directory.join("other"));
    const [type, key] = (await readFile(far.server.directory.join("other.pub"), "utf8")).split(" ");
    const good = await readFile(far.server.knownHosts, "utf8");
    for (const [known, words] of [
      ["", /is not known|unknown/],
      [`${far.server.name} ${type} ${key}\n`, /CHANGED/],
    ] as const) {
      await far.server.know(known);
      far.link.forgive();
      const begin = far.server.log.match(/Connection from/g)?.length ?? 0;
      const fault = await faultOf(engine.run(request({ direction: "in", root: here.path, items }), context));
      expect(fault).toMatchObject({ code: "TRANSFER", details: { why: "host-key", last: "UNREACHABLE" } });
      expect(fault.message).toMatch(words);
      expect(fault.message).toContain("SHA256:");
      expect((far.server.log.match(/Connection from/g)?.length ?? 0) - begin).toBeLessThanOrEqual(1);
    }
    await far.server.know(good);
    far.link.forgive();
    await engine.run(request({ direction: "in", root: here.path, items }), context);
  });

  it("F12, F14: that refuses the login is asked once, not until the account is locked", async () => {
    await using far = await sftpHarness({ directives: ["PubkeyAuthentication no", "PasswordAuthentication yes"] });
    await using here = await temporaryDirectory();
    await using engine = engineOf(far);
    const items = [item({ source: far.url("x"), target: "x" })];
    const fault = await faultOf(engine.run(request({ direction: "in", root: here.path, items }), context));
    expect(fault).toMatchObject({ code: "TRANSFER", details: { why: "login", tries: 1 } });
    expect(fault.message).toContain("only a person can give");
  });
});

describeWithEngine(["sshd", "mount"], "a remote whose disk is full", () => {
  it("F5: is said as such, leaves no partial file, and is not tried again at once", async () => {
    await using far = await sftpHarness({ smallDisk: 2 * mebibyte });
    await using here = await temporaryDirectory();
    await writeTree(here.path, { x: data });
    const rule = `sftp://far${far.server.directory.join("small")}/`;
    await using engine = startEngine({ policy: { sources: [], destinations: [rule] }, access: far.find });
    const items = [item({ source: "x", target: `${rule}x` })];
    const fault = await faultOf(engine.run(request({ direction: "out", root: here.path, items }), context));
    expect(fault).toMatchObject({ code: "TRANSFER", details: { errno: "ENOSPC" } });
    expect(await readdir(far.server.seen("small"))).toEqual([]);
  });
});

describe("urls by SSH", () => {
  it("have no query", async () => {
    const engine = startEngine({ policy: { sources: ["sftp://far/"], destinations: [] } });
    await using here = await temporaryDirectory();
    const items = [item({ source: "sftp://far/x?y", target: "x" })];
    const fault = await faultOf(engine.run(request({ direction: "in", root: here.path, items }), context));
    expect(fault).toMatchObject({ code: "POLICY", message: expect.stringContaining("has no query") as unknown });
  });
});
