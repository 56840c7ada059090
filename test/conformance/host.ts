/** What every host promises (src/hosts/types.ts), on real processes and files of this machine, whichever way leads there. */
import { execFile } from "node:child_process";
import { chmod, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../src/common/clock.ts";
import type { CallContext } from "../../src/common/context.ts";
import { isFault } from "../../src/common/fault.ts";
import { silentLogger } from "../../src/common/logger.ts";
import type { Host, HostFiles, RunRequest } from "../../src/hosts/types.ts";
import { isAlive } from "../helpers/processes.ts";
import { waitFor } from "../helpers/wait.ts";

const run = promisify(execFile);

/** One host whose files and processes the tests can see for themselves. */
export interface HostHarness extends AsyncDisposable {
  readonly host: Host;
  /** A directory beside the workdir, where commands of the tests run. */
  readonly root: string;
}

export function contextOf(signal: AbortSignal = new AbortController().signal): CallContext {
  return { signal, log: silentLogger, clock: systemClock };
}

export function describeHost(name: string, make: () => Promise<HostHarness>): void {
  describe(`host contract: ${name}`, () => {
    let harness: HostHarness;
    beforeAll(async () => {
      harness = await make();
    });
    afterAll(async () => {
      await harness[Symbol.asyncDispose]();
    });
    test("works here", async () => {
      expect(await harness.host.probe(contextOf())).toMatchObject({ ok: true });
    });
    describe("runs", () => runTests(() => harness));
    describe("ends", () => endTests(() => harness));
    describe("files", () => fileTests(() => harness));
    describe("directories", () => directoryTests(() => harness));
    describe("confines", () => confinementTests(() => harness));
  });
}

type Harness = () => HostHarness;

/** A command of `sh` in the directory of the tests. */
export function shell(root: string, script: string, change: Partial<RunRequest> = {}): RunRequest {
  return {
    argv: ["/bin/sh", "-c", script],
    cwd: root,
    environment: { PATH: "/usr/bin:/bin" },
    timeoutMs: 30_000,
    maxOutputBytes: 65_536,
    ...change,
  };
}

async function pidIn(directory: string, name: string): Promise<number> {
  return waitFor(async () => Number(await readFile(join(directory, name), "utf8")), { what: `a pid in ${name}` });
}

async function untilGone(...pids: readonly number[]): Promise<void> {
  await waitFor(() => pids.every((pid) => !isAlive(pid)), { what: `processes ${pids.join(", ")} to be gone` });
}

/** Words and signs that shells, protocols and line readers trip over. */
const odd = "a b; $(touch pwned) `id` 'x' \"y\" * ? [a] {b,c} ~ # ! % \\n \\ \t | < > & é Ł \u0081\u0088 -n --";

function runTests(harness: Harness): void {
  const run = (script: string, change?: Partial<RunRequest>) =>
    harness().host.run(shell(harness().root, script, change), contextOf());

  test("gives both streams and the exit code", async () => {
    expect(await run("echo out; echo err >&2; exit 3")).toEqual({
      exitCode: 3,
      signal: undefined,
      stdout: "out\n",
      stderr: "err\n",
      truncated: false,
      timedOut: false,
    });
  });

  test.each([0, 1, 126, 127, 137, 153, 255])("gives the exit code %d as it is", async (code) => {
    expect(await run(`exit ${code}`)).toMatchObject({ exitCode: code, signal: undefined, timedOut: false });
  });

  test("gives what was printed without adding or losing a line end", async () => {
    expect(await run("printf 'x'; printf '\\n\\n' >&2")).toMatchObject({ stdout: "x", stderr: "\n\n" });
    expect(await run(":")).toMatchObject({ stdout: "", stderr: "" });
  });

  test("tells that a signal ended a command: by name, or as shells do", async () => {
    const { exitCode, signal } = await run("kill -SEGV $$");
    expect(signal ?? exitCode).toBe(signal === undefined ? 128 + 11 : "SIGSEGV");
  });

  test("gives the command its environment and nothing else", async () => {
    process.env["LEAKING"] = "yes";
    try {
      const environment = { A: "1", B: odd, PATH: "/usr/bin:/bin" };
      const { stdout } = await run("", { argv: ["env"], environment });
      const lines = stdout.trim().split("\n").toSorted();
      // While coverage is counted Node hands its own variable to every child, whatever environment is given.
      const found = lines.filter((line) => !line.startsWith("NODE_V8_COVERAGE="));
      expect(found).toEqual(["A=1", `B=${odd}`, "LC_ALL=C", "PATH=/usr/bin:/bin"]);
    } finally {
      delete process.env["LEAKING"];
    }
  });

  test("takes names of variables that shells keep for themselves, and values with line ends", async () => {
    const environment = { PWD: "/x", UID: "7", IFS: ":", LC_ALL: "C.UTF-8", LINES_: "a\nb\n" };
    const { stdout } = await run("", { argv: ["/usr/bin/env", "-0"], environment });
    for (const [name, value] of Object.entries(environment)) expect(stdout.split("\0")).toContain(`${name}=${value}`);
  });

  test.each<[string, string]>([
    ["signs that shells read", odd],
    ["line ends", "a\nb\r\n\nc"],
    ["nothing", ""],
    ["a long text", "x".repeat(100_000)],
  ])("passes an argument with %s as it is", async (_what, argument) => {
    const argv = ["/bin/sh", "-c", 'printf "%s|%s" "$#" "$1"', "sh", argument, "last"] as const;
    expect(await run("", { argv, maxOutputBytes: 200_000 })).toMatchObject({ stdout: `2|${argument}`, exitCode: 0 });
  });

  test("runs in the given directory, whatever its name", async () => {
    const place = join(harness().root, 'it\'s a "place"\nof two lines');
    await mkdir(place, { recursive: true });
    expect(await run("pwd", { cwd: place })).toMatchObject({ stdout: `${place}\n` });
  });

  test("gives standard input, or none", async () => {
    expect(await run("cat", { stdin: "zwölf\nno end" })).toMatchObject({ stdout: "zwölf\nno end" });
    expect(await run("cat", { stdin: "" })).toMatchObject({ stdout: "", exitCode: 0 });
    expect(await run("cat")).toMatchObject({ stdout: "", exitCode: 0 });
  });

  test("gives a long standard input whole, and does not mind one that is not read", async () => {
    const stdin = "0123456789abcde\n".repeat(200_000);
    expect(await run("cksum", { stdin })).toMatchObject({ stdout: expect.stringMatching(/ 3200000\n$/) as string });
    expect(await run("exit 4", { stdin })).toMatchObject({ exitCode: 4 });
    expect(await run("exec <&-; sleep 0.2; echo well", { stdin })).toMatchObject({ stdout: "well\n", exitCode: 0 });
  });

  test("keeps output up to the limit and lets the command finish", async () => {
    const script = "i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done; echo end >&2";
    const result = await run(script, { maxOutputBytes: 1000 });
    expect(result).toMatchObject({ exitCode: 0, truncated: true, stderr: "end\n" });
    expect(result.stdout).toBe("0123456789\n".repeat(91).slice(0, 1000));
  });

  test("gives megabytes of output whole", async () => {
    const { stdout, truncated } = await run("head -c 5000000 /dev/zero", { maxOutputBytes: 6_000_000 });
    expect([stdout.length, truncated]).toEqual([5_000_000, false]);
  });

  test("runs many commands at the same time, each with its own answer", async () => {
    const results = await Promise.all(Array.from({ length: 20 }, (_, index) => run(`echo ${index}; exit ${index}`)));
    expect(results.map(({ exitCode, stdout }) => [exitCode, stdout])).toEqual(
      results.map((_, index) => [index, `${index}\n`]),
    );
  });

  test.each<[string, Partial<RunRequest>, RegExp]>([
    ["a program that is not there", { argv: ["no-such-program"] }, /'no-such-program' could not be started: ENOENT/],
    ["a path that is not there", { argv: ["/no/such/program"] }, /ENOENT/],
    [
      "a directory that is not there",
      { cwd: "/no/such/directory" },
      /directory '\/no\/such\/directory' does not exist/,
    ],
    ["a file that is no program", { argv: ["/etc/passwd"] }, /EACCES/],
    ["an argument with NUL", { argv: ["/bin/echo", "a\0b"] }, /ERR_INVALID_ARG_VALUE/],
    ["arguments that Linux does not take", { argv: ["/bin/echo", "x".repeat(200_000)] }, /E2BIG/],
  ])("throws LAUNCH for %s", async (_what, change, message) => {
    const error: unknown = await run("", change).catch((caught: unknown) => caught);
    expect(isFault(error, "LAUNCH")).toBe(true);
    expect(String(error)).toMatch(message);
  });
}

function endTests(harness: Harness): void {
  const directory = async (name: string): Promise<string> => {
    const path = join(harness().root, name);
    await mkdir(path, { recursive: true });
    return path;
  };

  test("ends the whole group when the time is over, also what ignores TERM", async () => {
    const place = await directory("late");
    const script = `trap "" TERM; (trap "" TERM; echo $$ > leader; exec sleep 300) & echo $! > child; wait; sleep 300`;
    const result = await harness().host.run(shell(place, script, { timeoutMs: 300 }), contextOf());
    expect(result).toMatchObject({ timedOut: true, exitCode: undefined, signal: "SIGKILL" });
    await untilGone(await pidIn(place, "leader"), await pidIn(place, "child"));
  });

  test("lets a command end by itself within the grace after its time is over", async () => {
    const script = "trap 'echo bye; exit 7' TERM; sleep 300 & wait";
    const result = await harness().host.run(shell(harness().root, script, { timeoutMs: 300 }), contextOf());
    expect(result).toMatchObject({ timedOut: true, exitCode: 7, stdout: "bye\n" });
  });

  test("leaves nothing of the group behind when the command ends well", async () => {
    const place = await directory("well");
    const { exitCode } = await harness().host.run(shell(place, "sleep 300 & echo $! > child; exit 0"), contextOf());
    expect(exitCode).toBe(0);
    await untilGone(await pidIn(place, "child"));
  });

  test("does not wait for a process that left the group with the output", async () => {
    const place = await directory("away");
    const script = "setsid sh -c 'echo $$ > away; exec sleep 300' & while [ ! -s away ]; do sleep 0.02; done; echo out";
    const begin = performance.now();
    expect(await harness().host.run(shell(place, script), contextOf())).toMatchObject({ stdout: "out\n", exitCode: 0 });
    expect(performance.now() - begin).toBeLessThan(30_000);
    process.kill(await pidIn(place, "away"), "SIGKILL");
  });

  test.each<[string, string | undefined]>([
    ["without input", undefined],
    ["with input that it has read", "x\n"],
    ["with input that it does not read", "x".repeat(1_000_000)],
  ])("ends the group of a command %s and throws CANCELLED when the context aborts", async (what, stdin) => {
    const place = await directory(`cancel ${what}`);
    const controller = new AbortController();
    const script = `${stdin === "x\n" ? "read line;" : ""} sleep 300 & echo $! > child; echo $$ > leader; wait`;
    const request = shell(place, script, stdin === undefined ? {} : { stdin });
    const running = harness().host.run(request, contextOf(controller.signal));
    const pids = [await pidIn(place, "leader"), await pidIn(place, "child")];
    controller.abort();
    await expect(running).rejects.toSatisfy((error) => isFault(error, "CANCELLED"));
    await untilGone(...pids);
  });

  test("starts nothing for a context that has aborted", async () => {
    const place = await directory("never");
    const running = harness().host.run(shell(place, "touch late"), contextOf(AbortSignal.abort()));
    await expect(running).rejects.toSatisfy((error) => isFault(error, "CANCELLED"));
    expect(await readdir(place)).toEqual([]);
  });
}

/** Names that are awkward in commands and protocols. */
const names = ["plain", "-rf", "a b", "line\nend", 'it\'s "x" $y `z` \\', "é Ł 日本", "*", ".hidden", "n".repeat(200)];

function fileTests(harness: Harness): void {
  const at = (...parts: readonly string[]): string => join(harness().host.workdir, ...parts);
  const files = (): HostFiles => harness().host.files;

  test.each(names)("F8: writes, reads, looks at, lists and removes a file called %j", async (name) => {
    const directory = at("names");
    await files().mkdir(directory, {}, contextOf());
    await files().write(join(directory, name), "content\n", { mode: 0o640 }, contextOf());
    expect(await readFile(join(directory, name), "utf8")).toBe("content\n");
    expect(await files().read(join(directory, name), { maxBytes: 100 }, contextOf())).toEqual(Buffer.from("content\n"));
    const stat = await files().stat(join(directory, name), contextOf());
    expect(stat).toMatchObject({ type: "file", bytes: 8, mode: 0o640 });
    expect(Math.abs((stat?.mtimeMs ?? 0) - Date.now())).toBeLessThan(600_000);
    expect(await files().list(directory, contextOf())).toEqual([name]);
    await files().remove(join(directory, name), contextOf());
    expect(await readdir(directory)).toEqual([]);
  });

  test("gives bytes as they are, from an offset, up to a limit", async () => {
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7) % 256));
    await files().mkdir(at("bytes"), {}, contextOf());
    await files().write(at("bytes", "f"), bytes, { mode: 0o600 }, contextOf());
    const read = (options: { readonly offset?: number; readonly maxBytes: number }) =>
      files().read(at("bytes", "f"), options, contextOf());
    expect((await read({ maxBytes: 1_000_000 }))?.equals(bytes)).toBe(true);
    expect(await read({ offset: 299_990, maxBytes: 100 })).toEqual(bytes.subarray(299_990));
    expect(await read({ offset: 70_000, maxBytes: 3 })).toEqual(bytes.subarray(70_000, 70_003));
    expect(await read({ offset: 300_000, maxBytes: 10 })).toEqual(Buffer.alloc(0));
    expect(await read({ offset: 999_999, maxBytes: 10 })).toEqual(Buffer.alloc(0));
    expect(await read({ maxBytes: 0 })).toEqual(Buffer.alloc(0));
  });

  test("replaces a file whole and leaves no partial name", async () => {
    await files().mkdir(at("replace"), {}, contextOf());
    await writeFile(at("replace", "f"), "old and longer");
    await files().write(at("replace", "f"), "new", { mode: 0o600 }, contextOf());
    await files().write(at("replace", "empty"), new Uint8Array(), { mode: 0o600 }, contextOf());
    expect(await readFile(at("replace", "f"), "utf8")).toBe("new");
    expect((await readdir(at("replace"))).toSorted()).toEqual(["empty", "f"]);
  });

  test("keeps what is there, and no partial file, when it cannot write", async () => {
    await files().mkdir(at("refused", "f"), {}, contextOf());
    const writing = files().write(at("refused", "f"), "x", { mode: 0o600 }, contextOf());
    await expect(writing).rejects.toSatisfy((error) => isFault(error, "TRANSFER"));
    expect(await readdir(at("refused"))).toEqual(["f"]);
    const nowhere = files().write(at("nowhere", "f"), "x", { mode: 0o600 }, contextOf());
    await expect(nowhere).rejects.toSatisfy((error) => isFault(error, "TRANSFER"));
  });

  test("answers for what is not there", async () => {
    await files().mkdir(at("absent"), {}, contextOf());
    await writeFile(at("absent", "file"), "x");
    for (const path of [at("absent", "x"), at("absent", "x", "y"), at("absent", "file", "x")]) {
      expect(await files().read(path, { maxBytes: 10 }, contextOf())).toBeUndefined();
      expect(await files().stat(path, contextOf())).toBeUndefined();
      expect(await files().list(path, contextOf())).toBeUndefined();
      await files().remove(path, contextOf());
    }
    expect(await files().list(at("absent", "file"), contextOf())).toBeUndefined();
    expect(await files().read(at("absent"), { maxBytes: 10 }, contextOf())).toBeUndefined();
    expect(await readdir(at("absent"))).toEqual(["file"]);
  });

  test("reads no fifo and does not wait for one", async () => {
    await files().mkdir(at("fifo"), {}, contextOf());
    await run("mkfifo", [at("fifo", "f")]);
    expect(await files().read(at("fifo", "f"), { maxBytes: 10 }, contextOf())).toBeUndefined();
    expect(await files().stat(at("fifo", "f"), contextOf())).toMatchObject({ type: "other" });
    await files().remove(at("fifo"), contextOf());
  });

  test("tells how much room is left", async () => {
    await files().mkdir(at(), {}, contextOf());
    const room = await files().freeRoom(contextOf());
    expect(room?.bytes).toBeGreaterThan(0);
    expect(room?.files ?? 1).toBeGreaterThan(0);
  });

  test("does nothing for a context that has aborted", async () => {
    const context = contextOf(AbortSignal.abort());
    const writing = files().write(at("aborted"), "x", { mode: 0o600 }, context);
    await Promise.allSettled([writing]);
    const reading = files().read(at("aborted"), { maxBytes: 1 }, contextOf());
    expect([undefined, "x"]).toContain((await reading)?.toString());
  });
}

function directoryTests(harness: Harness): void {
  const at = (...parts: readonly string[]): string => join(harness().host.workdir, ...parts);
  const files = (): HostFiles => harness().host.files;

  test("makes a directory with its parents, of several callers for one", async () => {
    const made = await Promise.all(Array.from({ length: 8 }, () => files().mkdir(at("a/b/c"), {}, contextOf())));
    expect(made.filter(Boolean)).toEqual([true]);
    expect(await files().mkdir(at("a/b/c"), {}, contextOf())).toBe(false);
    expect(await files().stat(at("a/b"), contextOf())).toMatchObject({ type: "directory", mode: 0o700 });
    await files().mkdir(at("a/open"), { mode: 0o755 }, contextOf());
    expect(await files().stat(at("a/open"), contextOf())).toMatchObject({ mode: 0o755 });
  });

  test("makes the workdir itself, and nothing where a file is in the way", async () => {
    await files().mkdir(at(), {}, contextOf());
    await writeFile(at("file"), "");
    for (const path of [at("file"), at("file", "below")]) {
      const making = files().mkdir(path, {}, contextOf());
      await expect(making).rejects.toSatisfy((error) => isFault(error, "TRANSFER"));
    }
  });

  test("lists and removes a tree, also where a program took the right to", async () => {
    await mkdir(at("tree/deep/er"), { recursive: true });
    await Promise.all(Array.from({ length: 300 }, (_, index) => writeFile(at("tree", `f${index}`), "x")));
    await writeFile(at("tree/deep/er/f"), "x");
    await chmod(at("tree/deep/er"), 0o500);
    await chmod(at("tree/deep"), 0o000);
    expect(await files().list(at("tree"), contextOf())).toHaveLength(301);
    await files().remove(at("tree"), contextOf());
    expect(await files().stat(at("tree"), contextOf())).toBeUndefined();
  });

  test("F8: removes a tree with names that are no text", async () => {
    await mkdir(at("bytes-tree/sub"), { recursive: true });
    await writeFile(Buffer.concat([Buffer.from(at("bytes-tree/sub/")), Buffer.from([0xff, 0xfe, 0x0a])]), "x");
    await files().remove(at("bytes-tree"), contextOf());
    expect(await files().stat(at("bytes-tree"), contextOf())).toBeUndefined();
  });
}

function confinementTests(harness: Harness): void {
  const at = (...parts: readonly string[]): string => join(harness().host.workdir, ...parts);
  const files = (): HostFiles => harness().host.files;
  const everyVerb = (path: string): readonly (() => Promise<unknown>)[] => [
    () => files().read(path, { maxBytes: 10 }, contextOf()),
    () => files().write(path, "x", { mode: 0o600 }, contextOf()),
    () => files().stat(path, contextOf()),
    () => files().mkdir(path, {}, contextOf()),
    () => files().list(path, contextOf()),
    () => files().remove(path, contextOf()),
  ];

  test("F8: refuses every path that is not below the workdir", async () => {
    const { workdir } = harness().host;
    const outside = [
      "/etc/passwd",
      `${workdir}/../x`,
      `${workdir}/a/../../x`,
      `${workdir}x`,
      "x",
      "",
      `${workdir}/a\0b`,
    ];
    for (const verb of outside.flatMap(everyVerb))
      await expect(verb()).rejects.toSatisfy((error) => isFault(error, "UNSAFE_PATH"));
  });

  test("F8: refuses a path that leads through a link, and touches nothing at its end", async () => {
    await mkdir(at("links"), { recursive: true });
    await mkdir(join(harness().root, "outside/sub"), { recursive: true });
    await writeFile(join(harness().root, "outside/secret"), "secret");
    await symlink(join(harness().root, "outside"), at("links/away"));
    const paths = [at("links/away/secret"), at("links/away/sub"), at("links/away/new"), at("links/away/sub/deep")];
    for (const verb of paths.flatMap(everyVerb))
      await expect(verb()).rejects.toSatisfy((error) => isFault(error, "UNSAFE_PATH"));
    expect((await readdir(join(harness().root, "outside"))).toSorted()).toEqual(["secret", "sub"]);
  });

  test("F8: takes a link for a link: not read, not listed, replaced and removed itself", async () => {
    await mkdir(at("link"), { recursive: true });
    await mkdir(join(harness().root, "elsewhere"), { recursive: true });
    await writeFile(join(harness().root, "elsewhere/secret"), "secret");
    await symlink(join(harness().root, "elsewhere/secret"), at("link/file"));
    await symlink(join(harness().root, "elsewhere"), at("link/directory"));
    await symlink("nowhere", at("link/broken"));
    for (const name of ["file", "directory", "broken"]) {
      expect(await files().stat(at("link", name), contextOf())).toMatchObject({ type: "link" });
      expect(await files().read(at("link", name), { maxBytes: 10 }, contextOf())).toBeUndefined();
      expect(await files().list(at("link", name), contextOf())).toBeUndefined();
    }
    await files().write(at("link/file"), "ours", { mode: 0o600 }, contextOf());
    expect(await readFile(at("link/file"), "utf8")).toBe("ours");
    expect(await readFile(join(harness().root, "elsewhere/secret"), "utf8")).toBe("secret");
    await expect(files().mkdir(at("link/directory"), {}, contextOf())).rejects.toSatisfy((error) => isFault(error));
    await files().remove(at("link"), contextOf());
    expect(await readdir(join(harness().root, "elsewhere"))).toEqual(["secret"]);
  });
}
