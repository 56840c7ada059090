import { array, assert, constantFrom, integer, oneof, property, string } from "fast-check";
import { describe, expect, it } from "vitest";
import { listsTask, parseListedId } from "../../../../src/schedulers/slurm/ids.ts";
import { scancel, scontrolOrder } from "../../../../src/schedulers/slurm/order-commands.ts";
import { parseSacct, sacct } from "../../../../src/schedulers/slurm/sacct.ts";
import { parseSbatch } from "../../../../src/schedulers/slurm/sbatch.ts";
import { atLeast, parseConfig } from "../../../../src/schedulers/slurm/show-config.ts";
import { parseSqueue, squeue } from "../../../../src/schedulers/slurm/squeue.ts";
import { cpuSeconds, sizeInBytes } from "../../../../src/schedulers/slurm/usage.ts";
import { fuzz, fuzzing } from "../../../helpers/fuzz.ts";
import { accountingLine, queueLine, result, token } from "../../../helpers/slurm-answers.ts";
import { finished } from "../../../helpers/steps.ts";

describe("squeue", () => {
  it("reads rows whatever persons put into names and comments", () => {
    const stdout = [
      queueLine({ id: "1", state: "FAILED", exit: "768", name: token, started: "1795280219", nodes: "n1" }),
      queueLine({ id: "2", state: "RUNNING", name: "a | b, c\nd", comment: "x\ny" }),
      queueLine({
        id: "3_7",
        state: "PENDING",
        reason: "JobHeldUser",
        name: "renamed-by-a-plugin",
        comment: `lab;${token}`,
      }),
      queueLine({ id: "4+0", state: "RUNNING", name: token }),
    ].join("");
    const answer = finished(parseSqueue(result({ stdout })));
    if (answer.state !== "answered") throw new Error("no answer");
    expect(answer.incomplete).toBeUndefined();
    expect(answer.rows.map(({ id, task, state }) => [id, task, state])).toEqual([
      ["1", undefined, "FAILED"],
      ["3", 7, "PENDING"],
    ]);
    expect(answer.rows[0]).toMatchObject({ token, exit: { code: 3, signal: 0 }, started: 1795280219, nodes: "n1" });
    expect(answer.rows[0]?.ended).toBeUndefined();
  });

  it("takes an empty queue for an answer, with the heading of a cluster, too", () => {
    expect(finished(parseSqueue(result()))).toEqual({ state: "answered", rows: [], incomplete: undefined });
    const heading = "CLUSTER: blue\n";
    expect(finished(parseSqueue(result({ stdout: heading })))).toEqual({
      state: "answered",
      rows: [],
      incomplete: undefined,
    });
    const answer = finished(
      parseSqueue(result({ stdout: heading + queueLine({ id: "12", state: "RUNNING", name: token }) })),
    );
    expect(answer).toMatchObject({ state: "answered", rows: [{ id: "12", token }] });
  });

  it("says that an answer breaks off, wherever it does", () => {
    const line = queueLine({ id: "12", state: "RUNNING", name: token });
    for (let length = 1; length < line.length - 2; length++) {
      const answer = finished(parseSqueue(result({ stdout: line + line.slice(0, length) })));
      expect(answer).toMatchObject({ state: "answered", incomplete: expect.stringContaining("breaks off") });
    }
    expect(finished(parseSqueue(result({ stdout: line, truncated: true }))).state).toBe("unknown");
  });

  it.each([
    [
      { exitCode: 1, stderr: "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n" },
      "reached",
    ],
    [{ exitCode: 0, stderr: "slurm_load_jobs error: Socket timed out on send/recv operation\n" }, "does not answer"],
    [{ exitCode: 0, stdout: "CLUSTER: x\n", stderr: "squeue: error: Unable to contact slurm controller\n" }, "reached"],
    [{ exitCode: 1, stderr: "squeue: error: Munge encode failed: Failed to access\n" }, "authentication"],
    [{ exitCode: 1, stderr: "squeue: error: Problem talking to database\n" }, "accounting"],
    [{ exitCode: undefined, signal: "SIGKILL" }, "SIGKILL"],
    [{ exitCode: 2 }, "exit code 2"],
    [{ timedOut: true }, "time limit"],
  ])("has no answer in %j", (more, word) => {
    expect(finished(parseSqueue(result(more)))).toMatchObject({ state: "unknown", why: expect.stringContaining(word) });
  });

  it("asks for this account and for nothing less, whatever is tracked", () => {
    const { argv } = squeue(undefined);
    expect(argv.slice(0, 7)).toEqual(["squeue", "--me", "-h", "-a", "-r", "-t", "all"]);
    expect(squeue("blue").argv.slice(0, 3)).toEqual(["squeue", "-M", "blue"]);
  });
});

describe("sacct", () => {
  it("bounds the question by the time of submission, in UTC", () => {
    const { argv } = sacct({ cluster: undefined, since: 1795280218, by: { ids: ["1", "2"] } });
    expect(argv).toEqual(expect.arrayContaining(["-S", "2026-11-21T16:56:58", "-j", "1,2"]));
    expect(argv).not.toContain("-X");
    expect(sacct({ cluster: "blue", since: 0, by: { names: [token] } }).argv).toEqual(
      expect.arrayContaining(["-M", "blue", "-X", `--name=${token}`]),
    );
  });

  it("reads jobs with their steps, tasks that never began in one row", () => {
    const stdout = [
      accountingLine({ id: "1", state: "FAILED", exit: "1:0", name: token, cpu: "1-00:00:01" }),
      accountingLine({ id: "1.batch", state: "FAILED", name: "batch", rss: "1024K" }),
      accountingLine({ id: "1.0", state: "OUT_OF_MEMORY", exit: "0:125", name: "app", rss: "3M" }),
      accountingLine({ id: "2_[0-2,5%1]", state: "CANCELLED by 1000", name: token }),
      accountingLine({ id: "3", state: "COMPLETED", name: "somebody's" }),
      accountingLine({ id: "3.batch", state: "COMPLETED", name: "batch", rss: "9G" }),
    ].join("");
    const answer = finished(parseSacct(result({ stdout })));
    if (answer.state !== "answered") throw new Error("no answer");
    expect(answer.rows).toHaveLength(2);
    expect(answer.rows[0]).toMatchObject({ id: "1", maxRssBytes: 3 * 2 ** 20, oomSteps: ["0"], cpuSeconds: 86_401 });
    expect(answer.rows[1]).toMatchObject({ id: "2", tasks: "0-2,5%1", state: "CANCELLED by 1000" });
  });

  it("knows a cluster without accounting by its words, whatever the exit code", () => {
    for (const exitCode of [0, 1]) {
      const stderr = "Slurm accounting storage is disabled\n";
      expect(finished(parseSacct(result({ exitCode, stderr }))).state).toBe("disabled");
    }
  });

  it.each([
    [{ exitCode: 1, stderr: "sacct: error: slurm_persist_conn_open_without_init: failed to open\n" }, "unknown"],
    [{ exitCode: 0, stderr: "sacct: error: Problem talking to the database: Connection refused\n" }, "unknown"],
    [{ exitCode: 0, stdout: "1\u001fCOMPL" }, "unknown"],
    [{ exitCode: 0, truncated: true }, "too-much"],
    [{ exitCode: undefined, timedOut: true, truncated: true }, "unknown"],
  ])("has no answer in %j", (more, state) => {
    expect(finished(parseSacct(result(more))).state).toBe(state);
  });
});

describe("sbatch", () => {
  it.each([
    ["123\n", "123", undefined],
    ["123;blue\n", "123", "blue"],
    ["Welcome to the cluster 2026!\n---\n123\n", "123", undefined],
    ["123;blue-2.x\nBalance: 400 h\n", "123", "blue-2.x"],
    ["Submitted batch job 77\n", "77", undefined],
    ["Submitted batch job 77 on cluster red\n", "77", "red"],
  ])("E17: takes the id out of %j", (stdout, id, cluster) => {
    expect(parseSbatch(result({ stdout, stderr: "sbatch: Slurm temporarily unable to accept job" }))).toEqual({
      state: "submitted",
      id,
      cluster,
    });
  });

  it.each([
    [{ stdout: "" }, "unclear"],
    [{ stdout: "hello\n" }, "unclear"],
    [{ stdout: "0\n" }, "unclear"],
    [{ stdout: "123 jobs are waiting\n" }, "unclear"],
    [{ stdout: "123\n", exitCode: 1 }, "printed"],
    [{ stdout: "2026\n123\n" }, "printed"],
    [{ stdout: "123\n", exitCode: undefined, timedOut: true }, "printed"],
    [{ exitCode: undefined, timedOut: true }, "unclear"],
    [{ exitCode: undefined, signal: "SIGKILL", stderr: "sbatch: error: Batch script is empty!" }, "unclear"],
    [{ exitCode: 1, stderr: "sbatch: error: Batch script is empty!" }, "rejected"],
  ])("makes of %j: %s", (more, state) => {
    expect(parseSbatch(result(more)).state).toBe(state);
  });
});

describe("orders", () => {
  it("give each operand its own result", () => {
    const stderr = `scancel: error: Kill job error on job id 99: Invalid job id specified
scancel: error: Kill job error on job id 1: Job/step already completing or completed
scancel: error: Kill job error on job id 3_7: Access/permission denied
scancel: error: Kill job error on job id 5: Socket timed out on send/recv operation
`;
    const command = scancel(undefined, ["1", "2", "3_7", "99", "5"]);
    expect(finished(command.parse(result({ stderr, exitCode: 1 }))).map(({ state }) => state)).toEqual([
      "over",
      "requested",
      "refused",
      "over",
      "unknown",
    ]);
  });

  it("read what scontrol says in either form", () => {
    const stderr = `Job has already finished for job 1
Invalid job id specified for job 99
3_9: Invalid job id specified
Job is no longer pending execution for job 4
slurm_suspend error: No error
`;
    const command = scontrolOrder("hold", undefined, ["1", "2", "99", "3_9", "4"]);
    expect(command.argv).toEqual(["scontrol", "hold", "1,2,99,3_9,4"]);
    expect(finished(command.parse(result({ stderr, exitCode: 1 }))).map(({ state }) => state)).toEqual([
      "over",
      "requested",
      "over",
      "over",
      "refused",
    ]);
  });

  it.each([
    { exitCode: 1, stderr: "scancel: error: Unable to contact slurm controller (connect failure)\n" },
    {
      exitCode: 1,
      stderr: "Unexpected message received for job 1\nslurm_suspend error: Unexpected message received\n",
    },
    { exitCode: undefined, timedOut: true },
    { exitCode: 1, stderr: "" },
    { exitCode: 0, stderr: "scancel: error: Socket timed out on send/recv operation\n" },
  ])("are unknown when nobody answered: %j", (more) => {
    const [answer] = scancel("blue", ["1"]).parse(result(more));
    expect(answer?.state).toBe("unknown");
  });
});

describe("the controller's configuration", () => {
  const text = `Configuration data as of 2026-11-21T16:56:58
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = blue
MaxArraySize            = 1001
MinJobAge               = 300 sec
SchedulerParameters     = bf_interval=30,max_array_tasks=500
SLURM_VERSION           = 23.11.4-1.el9

Cgroup Support Configuration:
ClusterName             = (null)
`;
  it("tells what matters", () => {
    expect(parseConfig(result({ stdout: text }))).toEqual({
      state: "answered",
      facts: { version: "23.11.4-1.el9", cluster: "blue", accounting: true, minJobAgeS: 300, mostTasks: 500 },
    });
  });

  it("keeps ended jobs for ever with MinJobAge 0, and has no arrays with MaxArraySize 0", () => {
    const other = text.replace("300 sec", "0 sec").replace("= 1001", "= 0").replace("slurmdbd", "none");
    expect(parseConfig(result({ stdout: other }))).toMatchObject({
      facts: { accounting: false, minJobAgeS: Infinity, mostTasks: 0 },
    });
  });

  it("is unknown without a version", () => {
    expect(parseConfig(result({ stdout: "nonsense" })).state).toBe("unknown");
  });

  it("compares versions by number", () => {
    expect(atLeast("23.02.3", 23, 2, 3)).toBe(true);
    expect(atLeast("23.02.2", 23, 2, 3)).toBe(false);
    expect(atLeast("22.05.8", 23, 2, 3)).toBe(false);
    expect(atLeast("24.05.0-0rc1", 23, 2, 3)).toBe(true);
    expect(atLeast("25.11.0", 25, 11)).toBe(true);
  });
});

describe("ids", () => {
  it.each([
    ["1", { id: "1" }],
    ["12_3", { id: "12", task: 3 }],
    ["12_[0-4%2]", { id: "12", tasks: "0-4%2" }],
  ])("%s", (text, expected) => {
    expect(parseListedId(text)).toEqual({ task: undefined, tasks: undefined, ...expected });
  });

  it.each(["", "0", "012", "1.batch", "1+0", "1_", "1_x", "s4SNKN57XZTE00", "1 2", "-1", "1_[2"])(
    "%s is none",
    (text) => {
      expect(parseListedId(text)).toBeUndefined();
    },
  );

  it("find a task in a list", () => {
    const inside = [0, 1, 2, 5, 10, 12, 14].every((task) => listsTask("0-2,5,10-14:2%3", task));
    expect(inside).toBe(true);
    expect([3, 4, 6, 11, 15].some((task) => listsTask("0-2,5,10-14:2%3", task))).toBe(false);
    expect(listsTask("0-2,...", 9)).toBe(false);
  });
});

describe("usage", () => {
  it("is read in all of its forms", () => {
    expect(["1234K", "1.50G", "0", "12"].map(sizeInBytes)).toEqual([1234 * 1024, 1.5 * 2 ** 30, 0, 12]);
    expect(["00:00.010", "01:02:03", "2-00:00:01", "x", ""].map(cpuSeconds)).toEqual([
      0.01,
      3_723,
      172_801,
      undefined,
      undefined,
    ]);
    expect(["", "x", "1Q", "-1"].map(sizeInBytes)).toEqual([undefined, undefined, undefined, undefined]);
  });
});

describe("any bytes whatever", () => {
  const separators = constantFrom(
    "\u001f",
    "\u001e",
    "\n",
    ":",
    "_",
    "[",
    "|",
    "COMPLETED",
    token,
    "123",
    "CLUSTER: x\n",
  );
  const bytes = array(oneof(separators, string({ unit: "binary", maxLength: 5 })), { maxLength: 60 });

  it("give each parser an answer, never an exception, and never an end of what is not there", fuzzing, () => {
    assert(
      property(
        bytes,
        bytes,
        constantFrom(0, 1, undefined),
        integer({ min: 0, max: 3 }),
        (out, err, exitCode, flags) => {
          const truncated = (flags & 1) === 1;
          const timedOut = (flags & 2) === 2;
          const given = result({ stdout: out.join(""), stderr: err.join(""), exitCode, truncated, timedOut });
          const queue = finished(parseSqueue(given));
          if (truncated || timedOut || exitCode !== 0) expect(queue.state).toBe("unknown");
          const history = finished(parseSacct(given));
          if (timedOut || exitCode !== 0) expect(history.state).not.toBe("answered");
          const submission = parseSbatch(given);
          if (submission.state === "submitted") expect(submission.id).toMatch(/^[1-9]\d*$/);
          expect(scancel(undefined, ["1", "2_3"]).parse(given)).toHaveLength(2);
          expect(["answered", "unknown"]).toContain(parseConfig(given).state);
        },
      ),
      fuzz(1_000),
    );
  });
});
