import { chmod, link, mkdir, readdir, readFile, rename, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { newToken } from "../../../src/common/token.ts";
import type { BulkTransfer, TransferEngine } from "../../../src/transfer/types.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { seeded } from "../../helpers/random.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import type { ChildTask } from "./crash-task.ts";
import { goOn, killedAt, skipping } from "./lost-lines.ts";
import { digestTree, faultOf, item, namesBelow, request, startEngine, testContext, writeTree } from "./setup.ts";
import { type SftpHarness, sftpHarness } from "./sftp-harness.ts";

failOnLeakedProcesses();

const context = testContext({ clock: skipping(2_000) });

function engineOf(far: SftpHarness): TransferEngine {
  return startEngine({
    policy: far.policy,
    access: far.find,
    filesPerHost: 4,
    retry: { tries: 3, backoff: { baseMs: 1, capMs: 1 } },
  });
}

/** Small files in several directories, with names that shells and archives might stumble over. */
function smallFiles(count: number): Record<string, string> {
  const odd = [
    "-rf",
    "--help",
    "$(touch x)",
    "'quoted'",
    "*",
    "a b  c",
    "é\u{1F9EC}",
    ".hidden",
    "n".repeat(200),
    "~",
    "%2e%2e%2F",
  ];
  const files: Record<string, string> = {};
  for (let index = 0; index < count; index++) {
    const name = odd[index] ?? `file-${index}`;
    files[`${index % 3 === 0 ? "" : index % 3 === 1 ? "-d/" : "deep er/$HOME/"}${name}`] = `content ${index}`.repeat(
      index % 50,
    );
  }
  return files;
}

/** What the adapter was asked to move together, by counting its calls. */
function countCalls(far: SftpHarness): { readonly fetched: number[]; readonly sent: number[]; failures: number } {
  const bulk = far.adapter.bulk;
  if (!bulk) throw new Error("no bulk");
  const seen = { fetched: [] as number[], sent: [] as number[], failures: 0 };
  const [fetch, send] = [bulk.fetch.bind(bulk), bulk.send.bind(bulk)];
  const counted = async <Value>(work: Promise<Value>): Promise<Value> => {
    try {
      return await work;
    } catch (error) {
      seen.failures++;
      throw error;
    }
  };
  const wrapped: Pick<BulkTransfer, "fetch" | "send"> = {
    fetch: (url, files, ...rest) => {
      seen.fetched.push(files.length);
      return counted(fetch(url, files, ...rest));
    },
    send: (url, files, ...rest) => {
      seen.sent.push(files.length);
      return counted(send(url, files, ...rest));
    },
  };
  Object.assign(bulk, wrapped);
  return seen;
}

function engineWith(far: SftpHarness): TransferEngine {
  return startEngine({
    policy: far.policy,
    adapters: [far.adapter],
    filesPerHost: 4,
    retry: { tries: 3, backoff: { baseMs: 1, capMs: 1 } },
  });
}

function fetching(far: SftpHarness, root: string): ReturnType<typeof request> {
  return request({ direction: "in", root, items: [item({ kind: "directory", source: far.url("t"), target: "t" })] });
}

function sending(far: SftpHarness, root: string, place = "out"): ReturnType<typeof request> {
  const items = [item({ kind: "directory", source: ".", target: `${far.url(place)}/` })];
  return request({ direction: "out", root, items });
}

describeWithEngine("sshd", "many small files by SFTP", () => {
  it("F8: go and come as an archive, under any name that is allowed, verified by digest", async () => {
    await using far = await sftpHarness();
    await using here = await temporaryDirectory();
    const files = smallFiles(40);
    await writeTree(here.join("tree"), files);
    const calls = countCalls(far);
    await using engine = engineWith(far);
    const out = sending(far, here.join("tree"));
    const sent = await engine.run(out, context);
    const expected = await digestTree(here.join("tree"));
    expect(await digestTree(far.path("out"))).toEqual(expected);
    expect(sent.manifest.every(({ verified }) => verified === "digest")).toBe(true);
    expect((await stat(far.path("out/file-12"))).mode & 0o777).toBe(0o666 & ~process.umask());
    await rename(far.path("out"), far.path("t"));
    const received = await engine.run(fetching(far, here.join("in")), context);
    expect(await digestTree(here.join("in/t"))).toEqual(expected);
    expect(received.manifest.every(({ verified }) => verified === "digest")).toBe(true);
    expect(calls).toEqual({ fetched: [40], sent: [40], failures: 0 });
    for (const root of [far.path(""), here.join("in")])
      expect((await namesBelow(root)).filter((name) => name.includes(".part-"))).toEqual([]);
  });

  it("go one by one where no command runs, and where the site file wants none", async () => {
    for (const [options, change] of [
      [{ directives: ["ForceCommand internal-sftp"] }, {}],
      [{}, { shell: false }],
    ] as const) {
      await using far = await sftpHarness(options, change);
      await using here = await temporaryDirectory();
      await writeTree(here.join("tree"), smallFiles(10));
      const calls = countCalls(far);
      await using engine = engineWith(far);
      await engine.run(sending(far, here.join("tree")), context);
      await rename(far.path("out"), far.path("t"));
      await engine.run(fetching(far, here.join("in")), context);
      expect(await digestTree(here.join("in/t"))).toEqual(await digestTree(here.join("tree")));
      // Asked once: the host is remembered for both directions.
      expect(calls).toEqual({ fetched: [], sent: [10], failures: 1 });
    }
  });

  it("take hard links and links inside the rule's directory as files, and keep modes and times if the site file says so", async () => {
    await using far = await sftpHarness({}, { preserve: true });
    await using here = await temporaryDirectory();
    await writeTree(far.path("t"), smallFiles(10));
    await far.put("elsewhere", "behind the link");
    await link(far.path("t/-rf"), far.path("t/twin"));
    await symlink(far.path("elsewhere"), far.path("t/link"));
    const calls = countCalls(far);
    await using engine = engineWith(far);
    await engine.run(fetching(far, here.join("in")), context);
    expect(await readFile(here.join("in/t/twin"), "utf8")).toBe(await readFile(far.path("t/-rf"), "utf8"));
    expect(await readFile(here.join("in/t/link"), "utf8")).toBe("behind the link");
    await chmod(here.join("in/t/twin"), 0o750);
    await utimes(here.join("in/t/twin"), 1_000_000_000, 1_000_000_000);
    await engine.run(sending(far, here.join("in")), context);
    const { mode, mtimeMs } = await stat(far.path("out/t/twin"));
    expect([mode & 0o777, mtimeMs]).toEqual([0o750, 1_000_000_000_000]);
    expect(calls).toEqual({ fetched: [12], sent: [12], failures: 0 });
  });

  it("F10: go and come as an archive, whatever the account prints at its start", async () => {
    const noise =
      "echo 'Welcome to the centre'; printf 'k end 0 none'; head -c 100000 /dev/zero; echo 'stty: not a tty' >&2";
    const servers = "/usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server /usr/lib/ssh/sftp-server";
    const files = `for server in ${servers}; do if [ -x $server ]; then exec $server; fi; done`;
    const login = `#!/bin/sh\ncase "$SSH_ORIGINAL_COMMAND" in internal-sftp*) ${files};; esac\n${noise}\nexec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n`;
    await using far = await sftpHarness({ login });
    await using here = await temporaryDirectory();
    await writeTree(here.join("work"), smallFiles(60));
    const expected = await digestTree(here.join("work"));
    const calls = countCalls(far);
    await using engine = engineWith(far);
    const out = await engine.run(sending(far, here.join("work"), "t"), context);
    expect(await digestTree(far.path("t"))).toEqual(expected);
    const brought = await engine.run(fetching(far, here.join("in")), context);
    expect(await digestTree(here.join("in/t"))).toEqual(expected);
    expect([calls.sent, calls.fetched, calls.failures]).toEqual([[60], [60], 0]);
    // Digests by command as well: a banner is no digest.
    expect(new Set([...out.manifest, ...brought.manifest].map(({ verified }) => verified))).toEqual(
      new Set(["digest"]),
    );
  });

  it("F4: replace what is there, or are refused if it is another; a directory is never replaced", async () => {
    await using here = await temporaryDirectory();
    await writeTree(here.join("tree"), smallFiles(13));
    for (const existing of ["replace", "refuse"] as const) {
      await using far = await sftpHarness({}, { existing });
      await far.put("out/file-12", "other");
      const calls = countCalls(far);
      await using engine = engineWith(far);
      const work = sending(far, here.join("tree"));
      if (existing === "replace") await engine.run(work, context);
      else {
        const fault = await faultOf(engine.run(work, context));
        expect(fault).toMatchObject({ code: "TRANSFER_REFUSED" });
        expect(fault.message).toMatch(/file-12.*another content/);
        expect(work.journal.length).toBe(12);
        expect(await far.get("out/file-12")).toEqual(Buffer.from("other"));
        await rm(far.path("out/file-12"));
        // The others are there with the same content: nobody recorded them, and they are no conflict.
        await engine.run(sending(far, here.join("tree")), context);
      }
      expect(await digestTree(far.path("out"))).toEqual(await digestTree(here.join("tree")));
      await mkdir(far.path("blocked/file-12"), { recursive: true });
      const fault = await faultOf(engine.run(sending(far, here.join("tree"), "blocked"), context));
      expect(fault.code).toBe("UNSAFE_PATH");
      expect(calls.failures).toBe(existing === "replace" ? 1 : 2);
      expect((await readdir(far.path("blocked"))).filter((name) => name.startsWith(".part-"))).toEqual([]);
    }
  });

  it("F6: a file that changes after it was listed is listed anew", async () => {
    await using far = await sftpHarness();
    await using here = await temporaryDirectory();
    await writeTree(far.path("t"), smallFiles(20));
    const calls = countCalls(far);
    const list = far.adapter.list.bind(far.adapter);
    let changed = false;
    Object.assign(far.adapter, {
      list: async (...args: Parameters<typeof list>) => {
        const files = await list(...args);
        if (!changed) await writeFile(far.path("t/file-12"), "another content now");
        if (!changed) await utimes(far.path("t/file-15"), 1, 1);
        changed = true;
        return files;
      },
    });
    await using engine = engineWith(far);
    await engine.run(fetching(far, here.join("in")), context);
    expect(await digestTree(here.join("in/t"))).toEqual(await digestTree(far.path("t")));
    expect(calls.fetched.length).toBeGreaterThan(1);
  });

  it("F3: come and go whole over a line that is cut again and again", async () => {
    await using far = await sftpHarness({}, { proxied: true });
    await using here = await temporaryDirectory();
    const { proxy } = far;
    if (!proxy) throw new Error("no proxy");
    for (let index = 0; index < 60; index++) {
      await writeTree(here.join("tree"), { [`d${index % 7}/${index}`]: Buffer.alloc(60_000, `${index} `) });
    }
    await using engine = engineOf(far);
    const random = seeded(11);
    proxy.fault = { kind: "sever", afterBytes: () => 1_000_000 + 3_500_000 * random() };
    const out = sending(far, here.join("tree"), "t");
    for (let runs = 0; runs < 20; runs++) {
      try {
        await engine.run({ ...out, known: [...out.journal] }, context);
        break;
      } catch (error) {
        expect(error).toMatchObject({ code: "TRANSFER" });
      }
    }
    const back = fetching(far, here.join("in"));
    for (let runs = 0; runs < 20; runs++) {
      try {
        await engine.run({ ...back, known: [...back.journal] }, context);
        break;
      } catch (error) {
        expect(error).toMatchObject({ code: "TRANSFER" });
      }
    }
    proxy.fault = { kind: "pass" };
    expect(proxy.connections).toBeGreaterThan(2);
    const expected = await digestTree(here.join("tree"));
    expect(await digestTree(here.join("in/t"))).toEqual(expected);
    expect(await digestTree(far.path("t"))).toEqual(expected);
  });

  it.each([
    ["out", "before-write"],
    ["out", "after-write"],
    ["out", "before-record@5"],
    ["in", "before-rename@5"],
    ["in", "before-record@5"],
  ] as const)("kill -9 of a stage-%s at transfer.%s: absent or complete, then completed", async (direction, at) => {
    await using far = await sftpHarness();
    await using here = await temporaryDirectory();
    const source = direction === "out" ? here.join("tree") : far.path("t");
    await writeTree(source, smallFiles(20));
    await mkdir(here.join("in"));
    const work = direction === "out" ? sending(far, here.join("tree")) : fetching(far, here.join("in"));
    const task: ChildTask = {
      token: newToken(),
      direction,
      root: work.root,
      rules: far.policy.sources,
      items: work.items,
      ssh: far.server.settings(),
    };
    await killedAt(here, task, at);
    const made = direction === "out" ? far.path("out") : here.join("in/t");
    const expected = await digestTree(source);
    for (const [path, digest] of Object.entries(await digestTree(made).catch(() => ({}))))
      if (!path.includes(".part-")) expect(digest).toBe(expected[path]);
    await goOn(task);
    expect(await digestTree(made)).toEqual(expected);
  });
});
