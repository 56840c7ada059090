import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { cgroupBase, countMemory } from "../../../src/runner/cgroups.ts";
import { endFromRecord, parseExitRecord, parseOom } from "../../../src/runner/evidence.ts";
import { ownOomCounter, parseOomKills, SharedOomCounter, sharedOomFiles } from "../../../src/runner/oom.ts";
import { perlPlan, type RecorderPlan, shellPlan } from "../../../src/runner/plan-files.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

const version2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
const version1 = "36 29 0:32 / /sys/fs/cgroup/memory rw,nosuid shared:15 - cgroup cgroup rw,memory";

describe("the kernel's count", () => {
  test.each([
    ["memory.events", "low 0\nhigh 3\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n", 1],
    ["memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n", 4],
    ["/proc/vmstat", "nr_free_pages 5\noom_kill 17\npgfault 3\n", 17],
    ["a kernel before 4.13", "oom_kill_disable 0\nunder_oom 0\n", undefined],
    ["nothing", "", undefined],
    ["rubbish", "oom_kill many\nxoom_kill 3\n", undefined],
  ])("in %s", (_name, text, count) => {
    expect(parseOomKills(text)).toBe(count);
  });

  test("is looked for in the narrowest group first, on version 2 in those above it, too", () => {
    expect(sharedOomFiles(version2, "0::/jobs.slice/runner.service\n")).toEqual([
      "/sys/fs/cgroup/jobs.slice/runner.service/memory.events",
      "/sys/fs/cgroup/jobs.slice/memory.events",
      "/sys/fs/cgroup/memory.events",
      "/proc/vmstat",
    ]);
    expect(sharedOomFiles(version1, "5:cpu:/a\n4:memory:/user/1\n0::/\n")).toEqual([
      "/sys/fs/cgroup/memory/user/1/memory.oom_control",
      "/proc/vmstat",
    ]);
    expect(sharedOomFiles(version1.replace("0:32 /", "0:32 /docker/7"), "4:cpuset,memory:/docker/7/x\n")[0]).toBe(
      "/sys/fs/cgroup/memory/x/memory.oom_control",
    );
    expect(sharedOomFiles("", "")).toEqual(["/proc/vmstat"]);
    expect(sharedOomFiles(version2, "")).toEqual(["/proc/vmstat"]);
  });

  test("of a group is the attempt's alone where the kernel counts its memory, else one that others share", async () => {
    await using directory = await temporaryDirectory();
    expect(ownOomCounter(directory.path)).toBeUndefined();
    await writeFile(directory.join("memory.events"), "oom_kill 0\n");
    const file = directory.join("memory.events");
    expect(ownOomCounter(directory.path)).toEqual({ file, count: 0, alone: true });
    await writeFile(file, "oom_kill 5\n");
    expect(new SharedOomCounter(file).now()).toEqual({ file, count: 5, alone: false });
    expect(new SharedOomCounter(directory.join("none")).now()).toBeUndefined();
  });
});

test("what ended an attempt is lack of memory only with the count of its own group and a kill", () => {
  const endOf = (line: string, oom: string) => {
    const record = parseExitRecord(`0\n1 ${line}\n`);
    return record && endFromRecord(record, undefined, { oom: parseOom(oom) });
  };
  const [killed, shell, failed] = ["signal 9 1 - 1 0 0", "code 137 1 - 0 0 0", "exit 3 1 - 1 0 0"];
  expect(endOf(killed, "1 alone 2\n")).toMatchObject({
    cause: "oom",
    signal: "SIGKILL",
    message: "out of memory: the kernel killed 2 processes of it for lack of memory",
  });
  expect(endOf(shell, "1 alone 1\n")).toMatchObject({ cause: "oom", exit_code: 137 });
  expect(endOf(killed, "1 shared 1\n")).toMatchObject({
    cause: "signal",
    message: expect.stringMatching(/perhaps this one$/),
  });
  expect(endOf(failed, "1 alone 1\n")).toMatchObject({
    cause: "exit",
    message: expect.stringMatching(/^the kernel killed a process of it/),
  });
  expect(endOf(failed, "1 shared 1\n")).not.toHaveProperty("message");
  expect(endOf("signal 9 1 stop 1 0 0", "1 alone 1\n")).toMatchObject({ cause: "cancelled" });
  expect(endOf("launch 127 1 - 1 0 0", "1 alone 1\n")).toMatchObject({ cause: "launch" });
  for (const damaged of ["", "1 alone", "1 mine 3\n", "2 alone 1\n"])
    expect(endOf(killed, damaged)).toMatchObject({ cause: "signal" });
});

test("both plans tell the recorder where to look", () => {
  const plan: RecorderPlan = {
    token: "a12345678901234",
    directory: "/d",
    workDirectory: "/w",
    argv: ["true"],
    environment: {},
    umask: 0o077,
    limitMs: undefined,
    graceMs: 1,
    maxOutputBytes: 0,
    cgroup: undefined,
    openFiles: undefined,
    oom: { file: "/sys/fs/a b/memory.events", count: 3, alone: false },
  };
  expect(perlPlan(plan).split("\0")).toContain("shared 3 /sys/fs/a b/memory.events");
  expect(shellPlan(plan)).toContain("oom='shared 3 /sys/fs/a b/memory.events'");
  expect(shellPlan({ ...plan, oom: undefined })).toContain("oom=''");
});

describe("memory is counted", () => {
  async function groups(...names: readonly string[]) {
    const directory = await temporaryDirectory();
    for (const name of names) {
      await mkdir(directory.join(name), { recursive: true });
      await writeFile(directory.join(name, "cgroup.subtree_control"), "");
    }
    const controllers = async (name: string): Promise<string> =>
      readFile(directory.join(name, "cgroup.subtree_control"), "utf8");
    return { directory, controllers };
  }

  test("in the unit's group only where systemd has put the runner below it", async () => {
    const { directory, controllers } = await groups("unit", "unit/siteagent-runner");
    await using _ = directory;
    const own = directory.join("unit/siteagent-runner");
    const base = cgroupBase("/state", own) ?? "";
    expect(join(base, "..")).toBe(directory.join("unit"));
    await mkdir(base);
    countMemory(base, own);
    expect(await controllers("unit")).toBe("+memory");
    expect(await readFile(join(base, "cgroup.subtree_control"), "utf8")).toBe("+memory");
  });

  test("in the base alone where the runner's own group has processes", async () => {
    const { directory, controllers } = await groups("unit");
    await using _ = directory;
    const base = cgroupBase("/state", directory.join("unit")) ?? "";
    expect(join(base, "..")).toBe(directory.join("unit"));
    await mkdir(base);
    countMemory(base, directory.join("unit"));
    expect(await controllers("unit")).toBe("");
  });
});
