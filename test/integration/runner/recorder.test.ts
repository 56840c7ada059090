/** Both recorders alone, without runner and launcher: what a batch script would run. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { perlPlan, type RecorderPlan, shellPlan } from "../../../src/runner/plan-files.ts";
import { parseExitRecord } from "../../../src/runner/evidence.ts";
import { newToken } from "../../../src/common/token.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { repository } from "../../helpers/cli.ts";
import { Program } from "../../helpers/program.ts";
import { isAlive, listProcesses } from "../../helpers/processes.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";

failOnLeakedProcesses();

interface Form {
  readonly form: string;
  readonly argv: readonly string[];
  /** The plan's file and how it is written. */
  readonly file: string;
  readonly write: (plan: RecorderPlan) => string;
}

const scripts = join(repository, "src", "runner");
/** Other POSIX shells that this machine has, by their programs; /bin/sh is one of them or yet another. */
const shells = [["/bin/dash"], ["/bin/busybox", "sh"], ["/bin/bash", "--posix"]].filter(([file = ""]) =>
  existsSync(file),
);
const forms: readonly Form[] = [
  { form: "perl", argv: ["perl", join(scripts, "recorder.pl")], file: "plan", write: perlPlan },
  { form: "sh", argv: ["sh", join(scripts, "recorder.sh")], file: "plan.sh", write: shellPlan },
  ...shells.map((shell) => ({
    form: shell.join(" "),
    argv: [...shell, join(scripts, "recorder.sh")] as const,
    file: "plan.sh",
    write: shellPlan,
  })),
];

async function prepare(
  form: Form,
  directory: TemporaryDirectory,
  argv: RecorderPlan["argv"],
  extra: Partial<RecorderPlan> = {},
): Promise<readonly string[]> {
  const plan: RecorderPlan = {
    token: newToken(),
    directory: directory.path,
    workDirectory: directory.path,
    argv,
    environment: { PATH: "/usr/bin:/bin" },
    umask: 0o077,
    limitMs: undefined,
    graceMs: 200,
    maxOutputBytes: 0,
    cgroup: undefined,
    openFiles: 1024,
    ...extra,
  };
  await writeFile(directory.join(form.file), form.write(plan));
  return [...form.argv.slice(1), directory.path];
}

function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8");
  } catch {
    return "";
  }
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

/**
 * Says what it was told, and ends; its child likewise. The traps have the seconds before the warning to get there. Both wait without
 * forking: dash hears no signal while it starts a program.
 */
const warnable = `trap 'echo saved >> told; exit 3' USR2
mkfifo over
exec 3<>over
sh -c "trap 'echo child >> told; exit' USR2; read -r _ <&3; echo unwarned >> told" &
read -r _ <&3`;

test(
  "warns before the time limit, all processes or the command alone, once, in every form",
  { timeout: 60_000 },
  async () => {
    const warned = async (form: Form, to: "all" | "command"): Promise<object> => {
      await using directory = await temporaryDirectory();
      const warning = { signal: "SIGUSR2", beforeMs: 116_000, to };
      const args = await prepare(form, directory, ["sh", "-c", warnable], { limitMs: 120_000, warning });
      const recorder = await Program.start(form.argv[0] ?? "", args, { env: { PATH: process.env["PATH"] }, input: "" });
      await waitFor(() => existsSync(directory.join("rc")), { what: `the end in ${form.form}`, timeoutMs: 40_000 });
      const words = (): readonly string[] => readFileSync(directory.join("told"), "utf8").trim().split("\n");
      const both = (): Promise<unknown> =>
        waitFor(() => words().length === 2, { what: () => `both in ${form.form}: ${words().join(", ")}` });
      // The command's end does not wait until its child is warned, too.
      if (to === "all") await both();
      await writeFile(directory.join("over"), "\n", { flag: "r+" });
      await recorder.result(20_000);
      await both();
      const told = words().toSorted();
      const { value, marker } = parseExitRecord(readFileSync(directory.join("rc"), "utf8")) ?? {};
      return { told, value, marker, warned: existsSync(directory.join("warned")) };
    };
    await Promise.all(
      forms.flatMap((form) => [
        expect(warned(form, "all"), form.form).resolves.toEqual({
          told: ["child", "saved"],
          value: 3,
          marker: undefined,
          warned: true,
        }),
        expect(warned(form, "command"), form.form).resolves.toEqual({
          told: ["saved", "unwarned"],
          value: 3,
          marker: undefined,
          warned: true,
        }),
      ]),
    );
  },
);

test("in a batch job the helper that holds the limit leaves no pause behind, also when its own warning ends the job", async () => {
  const left = async (): Promise<readonly string[]> => {
    await using directory = await temporaryDirectory();
    const write = (plan: RecorderPlan): string => shellPlan(plan, { reservedCodes: [] });
    const form: Form = { form: "batch", argv: ["sh", join(scripts, "recorder.sh")], file: "plan.sh", write };
    const script = "trap 'exit 0' USR1; mkfifo f; exec 3<>f; read -r _ <&3";
    const warning = { signal: "SIGUSR1", beforeMs: 119_000, to: "command" } as const;
    // The cap is looked after between warning and pause.
    const limits = { limitMs: 120_000, maxOutputBytes: 1_000_000 };
    const args = await prepare(form, directory, ["sh", "-c", script], { ...limits, warning });
    const env = { PATH: process.env["PATH"], MARK: directory.path };
    const recorder = await Program.start("sh", args, { env, input: "" });
    await recorder.result(30_000);
    const isOurs = ({ pid }: { readonly pid: number }): boolean => environmentOf(pid).includes(directory.path);
    return listProcesses()
      .filter(isOurs)
      .map(({ command }) => command);
  };
  const found = await Promise.all(Array.from({ length: 30 }, left));
  expect(found.flat()).toEqual([]);
});

describe.each(forms)("recorder in $form", (form) => {
  const [program = ""] = form.argv;
  const record = (directory: TemporaryDirectory) => parseExitRecord(readFileSync(directory.join("rc"), "utf8"));

  test("records the exit code and says what happens", async () => {
    await using directory = await temporaryDirectory();
    const args = await prepare(form, directory, ["sh", "-c", "exit 7"]);
    const run = spawnSync(program, args, { encoding: "utf8" });
    expect(run.stdout).toMatch(/^started \d+(?: \d+){0,4}\nended\n/);
    expect(readFileSync(directory.join("rc"), "utf8").split("\n")[0]).toBe("7");
    expect(record(directory)).toMatchObject({ value: 7, marker: undefined });
  });

  test("20 at once: one runs, the others end with 125", async () => {
    await using directory = await temporaryDirectory();
    const args = await prepare(form, directory, ["sh", "-c", "echo ran >> ran; sleep 0.5"]);
    const runs = await Promise.all(
      Array.from({ length: 20 }, () => Program.start(program, args, { env: { PATH: process.env["PATH"] }, input: "" })),
    );
    const ends = await Promise.all(runs.map((run) => run.result(20_000)));
    expect(ends.filter((end) => end.code === 0)).toHaveLength(1);
    expect(ends.filter((end) => end.code === 125 && end.stdout === "guard\n")).toHaveLength(19);
    expect(readFileSync(directory.join("ran"), "utf8")).toBe("ran\n");
  });

  test("killed while it holds a limit, it leaves nothing behind once the job has ended", async () => {
    await using directory = await temporaryDirectory();
    const args = await prepare(form, directory, ["sh", "-c", "until [ -e go ]; do sleep 0.05; done"], {
      limitMs: 3_600_000,
    });
    const recorder = await Program.start(program, args, { env: { PATH: process.env["PATH"] }, input: "" });
    await waitFor(() => existsSync(directory.join("job")), { what: "the job" });
    recorder.signal("SIGKILL");
    await recorder.finished;
    const job = Number(readFileSync(directory.join("job"), "utf8").split(" ")[1]);
    await writeFile(directory.join("go"), "");
    await waitFor(() => !isAlive(job), { what: "the end of the job" });
    const left = (): readonly number[] =>
      listProcesses().flatMap(({ pid }) => (commandLine(pid).includes(directory.path) ? [pid] : []));
    await waitFor(() => left().length === 0, { what: () => `the end of ${left().join(", ")}` });
  });

  test("H3: a limit of 31 days does not strike at once", async () => {
    await using directory = await temporaryDirectory();
    const script = "i=0; while [ $i -lt 20 ]; do i=$((i + 1)); sleep 0.05; done; exit 5";
    const args = await prepare(form, directory, ["sh", "-c", script], {
      limitMs: 31 * 86_400_000,
      maxOutputBytes: 1_000_000,
    });
    spawnSync(program, args);
    expect(existsSync(directory.join("timeout"))).toBe(false);
    expect(record(directory)).toMatchObject({ value: 5, marker: undefined });
  });

  test.each(["job", "rc", "recorder"])("evidence without a guard (%s) counts as a start", async (name) => {
    await using directory = await temporaryDirectory();
    const args = await prepare(form, directory, ["touch", "ran"]);
    await writeFile(directory.join(name), "");
    expect(spawnSync(program, args).status).toBe(125);
    expect(existsSync(directory.join("ran"))).toBe(false);
  });

  test("polite signals are for the job, not for its witness", async () => {
    await using directory = await temporaryDirectory();
    const args = await prepare(form, directory, ["sh", "-c", "until [ -e go ]; do sleep 0.05; done; exit 5"]);
    await using run = await Program.start(program, args, { env: { PATH: process.env["PATH"] }, input: "" });
    await run.output(/started/);
    for (const signal of ["SIGHUP", "SIGINT", "SIGTERM", "SIGUSR2", "SIGPIPE"] as const) run.signal(signal);
    await writeFile(directory.join("go"), "");
    expect((await run.result(10_000)).code).toBe(0);
    expect(record(directory)).toMatchObject({ value: 5 });
  });

  test("its own signal settings do not reach the job", async () => {
    await using directory = await temporaryDirectory();
    const args = await prepare(form, directory, ["cat", "/proc/self/status"]);
    spawnSync("sh", ["-c", 'trap "" HUP TERM USR1 QUIT; exec "$@"', "sh", program, ...args]);
    const status = readFileSync(directory.join("out"), "utf8");
    const ignored = BigInt(`0x${/^SigIgn:\s+([0-9a-f]+)$/m.exec(status)?.[1] ?? "1"}`);
    const blocked = BigInt(`0x${/^SigBlk:\s+([0-9a-f]+)$/m.exec(status)?.[1] ?? "1"}`);
    expect(ignored).toBe(0n);
    expect(blocked).toBe(0n);
  });

  test.each([
    ["directories", "mkdir rc rc.tmp"],
    ["fifos", "mkfifo rc rc.tmp"],
    ["links to directories", "mkdir other; ln -s other rc; ln -s other rc.tmp"],
  ])("the exit record stands in its place, whatever the job has put there: %s", async (_what, make) => {
    await using directory = await temporaryDirectory();
    const args = await prepare(form, directory, ["sh", "-c", `${make}; exit 3`]);
    const run = spawnSync(program, args, { encoding: "utf8", timeout: 20_000, killSignal: "SIGKILL" });
    expect(run.stdout).toMatch(/ended\n$/);
    expect(record(directory)).toMatchObject({ value: 3 });
  });

  describeWithEngine("mount", "on a disk of its own", () => {
    test("C2: a job whose disk is full fails by its own error, and its exit record waits until it can be written", async () => {
      await using directory = await temporaryDirectory();
      const place = directory.join("disk");
      await mkdir(place);
      const argv = ["sh", "-c", "cat /dev/zero > fill || exit 6"] as const;
      const args = await prepare(form, directory, argv, { directory: place, workDirectory: place });
      const script = `mount -t tmpfs -o size=64k tmpfs "$1" && cp "$2" "$1" && shift 2 && "$@" && cat disk/rc`;
      const inside = ["sh", "-c", script, "sh", place, directory.join(form.file), program, ...args.slice(0, -1), place];
      const unshared = ["--mount", "--propagation", "private", ...inside];
      await using run = await Program.start("unshare", unshared, {
        env: { PATH: process.env["PATH"] },
        cwd: directory.path,
        input: "",
      });
      await run.output(/started/);
      // The disk as those see it who have mounted it.
      const seen = (name: string): string => `/proc/${run.pid}/root${place}/${name}`;
      await waitFor(() => existsSync(seen("rc.tmp")), { what: "the end of the job" });
      expect(existsSync(seen("rc"))).toBe(false);
      await rm(seen("fill"));
      const { code, stdout } = await run.result(60_000);
      expect(code).toBe(0);
      expect(parseExitRecord(stdout.slice(stdout.indexOf("ended\n") + "ended\n".length))).toMatchObject({ value: 6 });
    });
  });

  test("a plan that cannot be read, or a directory that is gone, starts nothing", async () => {
    await using directory = await temporaryDirectory();
    const none = spawnSync(program, [...form.argv.slice(1), directory.join("nowhere")], { encoding: "utf8" });
    expect(none.status).not.toBe(0);
    await writeFile(directory.join(form.file), "format='other'\n");
    const other = spawnSync(program, [...form.argv.slice(1), directory.path], { encoding: "utf8" });
    expect(other).toMatchObject({ status: 70, stdout: expect.stringMatching(/^error unknown plan/) });
    expect(existsSync(directory.join("started"))).toBe(false);
  });

  test("a working directory that is gone is no start, and no success", async () => {
    await using directory = await temporaryDirectory();
    const args = await prepare(form, directory, ["true"], { workDirectory: directory.join("nowhere") });
    spawnSync(program, args);
    expect(record(directory)).toMatchObject({ value: 126 });
  });

  test("the witness of a reader that has gone records all the same", async () => {
    await using directory = await temporaryDirectory();
    await mkdir(directory.join("x"));
    const args = await prepare(form, directory, ["sh", "-c", "sleep 0.2; exit 8"]);
    const quoted = [program, ...args].map((part) => `'${part}'`).join(" ");
    spawnSync("sh", ["-c", `${quoted} | true`]);
    await waitFor(() => existsSync(directory.join("rc")), { what: "the exit record" });
    expect(record(directory)).toMatchObject({ value: 8 });
  });
});
