import { array, assert, constantFrom, integer, oneof, property, string } from "fast-check";
import { describe, expect, it } from "vitest";
import { accountName } from "../../../../src/schedulers/sge/account.ts";
import { parseOrder } from "../../../../src/schedulers/sge/orders.ts";
import { parseQacct, qacctSince } from "../../../../src/schedulers/sge/qacct.ts";
import { qconfConfiguration, qstatHelp } from "../../../../src/schedulers/sge/qconf.ts";
import { parseReasons } from "../../../../src/schedulers/sge/qstat-job.ts";
import { parseQstat, type QueueEntry } from "../../../../src/schedulers/sge/qstat.ts";
import { parseQsub, qsub } from "../../../../src/schedulers/sge/qsub.ts";
import { fuzz, fuzzing } from "../../../helpers/fuzz.ts";
import { finished } from "../../../helpers/steps.ts";
import { recorded, result } from "./recorded.ts";

function entries(name: string): readonly QueueEntry[] {
  const answer = finished(parseQstat(recorded(name)));
  if (answer.state !== "answer") throw new Error(answer.why);
  return [...answer.entries.values()].flat();
}

describe("qstat's answer", () => {
  it("has jobs and tasks with their letters, full names and times", () => {
    const seen = entries("qstat").map(({ name, letters, tasks }) => [name, letters, tasks]);
    expect(new Set(seen.map((one) => JSON.stringify(one)))).toEqual(
      new Set(
        [
          ["exit100", "Eqw", undefined],
          ["held", "hqw", undefined],
          ["later", "qw", undefined],
          ["long", "r", undefined],
          ["nolog", "Eqw", undefined],
          ["tasks", "qw", "3-5:1"],
          ["tasks", "r", "1"],
          ["tasks", "r", "2"],
          ["toolarge", "qw", undefined],
        ].map((one) => JSON.stringify(one)),
      ),
    );
    const long = entries("qstat").find(({ name }) => name === "long");
    expect(long).toMatchObject({
      queue: "all.q@sgehost",
      at: expect.stringMatching(/^2026-11-21T\d\d:\d\d:\d\d\.000Z$/),
    });
  });

  it("may have no jobs", () => {
    expect(entries("qstat-empty")).toEqual([]);
  });

  it("E4: of a master that is down is none", () => {
    expect(finished(parseQstat(recorded("down-qstat")))).toMatchObject({
      state: "unknown",
      why: expect.stringContaining("unable to send message to qmaster"),
    });
  });

  it("E5: without a document is none, also with exit status 0", () => {
    expect(finished(parseQstat(result({})))).toMatchObject({ state: "unknown" });
    expect(finished(parseQstat(result({ stdout: "Maintenance\n" })))).toMatchObject({ state: "unknown" });
    expect(finished(parseQstat({ ...recorded("qstat"), timedOut: true }))).toMatchObject({ state: "unknown" });
  });

  it("that is cut anywhere is none", () => {
    const whole = recorded("qstat");
    const end = whole.stdout.trimEnd().length;
    for (let at = 0; at < end; at += 37) {
      expect(finished(parseQstat({ ...whole, stdout: whole.stdout.slice(0, at) })).state).toBe("unknown");
    }
  });

  it("E17: between banners is read", () => {
    const whole = recorded("qstat");
    expect(finished(parseQstat({ ...whole, stdout: `*** Welcome ***\n${whole.stdout}` }))).toMatchObject({
      state: "answer",
    });
  });
});

describe("reasons", () => {
  it("are told of jobs in the error state, and of those that nothing can run", () => {
    const texts = [...parseReasons(recorded("qstat-reasons")).values()];
    expect(texts).toHaveLength(3);
    expect(texts[0]).toContain("exit_status of job start = 100");
    expect(texts[1]).toContain(`can't open output file "/cell/work/none/log"`);
    expect(texts[2]).toContain(`cannot run in PE "smp"`);
    expect(parseReasons(recorded("qstat-reason-unknown")).size).toBe(0);
  });

  it("in several lines are one; where the scheduler gives none there is none", () => {
    const block = (info: string): string =>
      `====\njob_number:                 5\nscheduling info:            ${info}\n`;
    const two = block("queue dropped\n                            All queues dropped because of overload or full");
    expect(parseReasons(result({ stdout: two })).get("5")).toBe(
      "queue dropped; All queues dropped because of overload or full",
    );
    expect(
      parseReasons(result({ stdout: block("(Collecting of scheduler job information is turned off)") })).size,
    ).toBe(0);
  });
});

describe("qsub's answer", () => {
  it("is a number, of an array its parent's", () => {
    expect(parseQsub(recorded("submit-ok"))).toEqual({ state: "submitted", id: "1" });
    expect(parseQsub(recorded("submit-array"))).toEqual({ state: "submitted", id: "2" });
  });

  it.each([
    ["submit-bad-queue", 'job requests unknown queue "nonesuch"'],
    ["submit-bad-resource", 'unknown resource "nonesuch"'],
    ["submit-bad-value", 'attribute "h_rt" is not a time value'],
    ["submit-bad-option", 'invalid option argument "-zzz"'],
    ["submit-no-script", "no input read from stdin"],
  ])("E16: %s is a rejection in Grid Engine's words", (name, words) => {
    expect(parseQsub(recorded(name))).toEqual({ state: "rejected", reason: expect.stringContaining(words) });
  });

  it("E16: a limit of the moment waits", () => {
    expect(parseQsub(recorded("submit-limit"))).toEqual({
      state: "limited",
      reason: "job rejected: only 1 jobs are allowed per user (current job count: 1)",
    });
  });

  it.each([
    ["E4: a master that is down", recorded("down-qsub")],
    [
      "E20: this host may not submit",
      result({
        exitCode: 1,
        stderr: 'Unable to run job: denied: host "x" is neither submit nor admin host.\nExiting.\n',
      }),
    ],
    ["no number with exit status 0", result({ stdout: "Welcome\n" })],
    ["a wrapper that fails", result({ exitCode: 1, stderr: "Traceback (most recent call last):\n" })],
    ["a command that was killed", result({ exitCode: undefined, signal: "SIGKILL", timedOut: true })],
  ])("%s is unclear", (_, given) => {
    expect(parseQsub(given).state).toBe("unclear");
  });

  it("E17: between banners the number is found", () => {
    expect(parseQsub(result({ stdout: "*** 3 of 5 ***\nversion 8.1.9\n77\nbye 5 jobs\n", exitCode: 1 }))).toEqual({
      state: "submitted",
      id: "77",
    });
  });

  it("is asked for where a site's defaults cannot change it", () => {
    expect(qsub("script").argv).toEqual(["qsub", "-terse", "-b", "n", "-sync", "n", "-now", "n"]);
  });
});

describe("qacct's answer", () => {
  const records = (name: string): ReturnType<typeof parseQacct> & { state: "answer" } => {
    const answer = parseQacct(recorded(name));
    if (answer.state !== "answer") throw new Error(JSON.stringify(answer));
    return answer;
  };

  it("has what Grid Engine says of an end", () => {
    expect(records("qacct-exit").records).toEqual([
      expect.objectContaining({
        name: "exit3",
        owner: "root",
        task: undefined,
        failed: 0,
        exitStatus: 3,
        deletedBy: undefined,
      }),
    ]);
    expect(records("qacct-limit").records).toMatchObject([{ failed: 37, exitStatus: 137, category: "-l h_rt=1" }]);
    expect(records("qacct-killed").records).toMatchObject([
      { failed: 100, failedWords: "assumedly after job", exitStatus: 137 },
    ]);
    expect(records("qacct-nolog").records).toMatchObject([{ failed: 26, exitStatus: 0, startedAt: undefined }]);
    expect(
      records("qacct-array")
        .records.map(({ task, exitStatus }) => [task, exitStatus])
        .toSorted((one, other) => (one[0] ?? 0) - (other[0] ?? 0)),
    ).toEqual([
      [1, 0],
      [2, 1],
      [3, 2],
      [4, 3],
    ]);
  });

  it("has all runs of a job, the last at the end", () => {
    expect(records("qacct-again").records.map(({ failed, exitStatus }) => [failed, exitStatus])).toEqual([
      [25, 99],
      [0, 6],
    ]);
  });

  it("to a question about many has many, and the summary is no record", () => {
    expect(records("qacct-since").records.length).toBeGreaterThan(8);
    expect(records("qacct-since-none").records).toEqual([]);
  });

  it("of a number that is not there is empty; without a file it says so; anything else is none", () => {
    expect(records("qacct-unknown").records).toEqual([]);
    const noFile = result({
      exitCode: 1,
      stderr: "/x/accounting: No such file or directory\nno jobs running since startup\n",
    });
    expect(parseQacct(noFile)).toEqual({ state: "no-file" });
    expect(parseQacct(result({ exitCode: 1, stderr: "permission denied\n" }))).toMatchObject({ state: "unknown" });
    expect(parseQacct({ ...recorded("qacct-since"), truncated: true })).toMatchObject({ state: "unknown" });
  });

  it("is asked for since a minute in UTC", () => {
    expect(qacctSince("alice", "2026-11-21T17:44:49.000Z").argv).toEqual([
      "qacct",
      "-o",
      "alice",
      "-b",
      "202611211744",
      "-j",
    ]);
  });
});

describe("an order's answer", () => {
  it("tells of each job, and which never ran", () => {
    const answer = parseOrder("qdel", ["13", "12", "15.1", "15.5", "777777"], recorded("qdel"));
    expect([...answer].map(([operand, { result: said, neverRan }]) => [operand, said.state, neverRan])).toEqual([
      ["13", "requested", true],
      ["12", "requested", false],
      ["15.1", "requested", false],
      ["15.5", "requested", true],
      ["777777", "over", false],
    ]);
    const again = parseOrder("qdel", ["12", "15"], recorded("qdel-again"));
    expect([...again.values()].map(({ result: said, neverRan }) => [said.state, neverRan])).toEqual([
      ["requested", false],
      ["requested", false],
    ]);
  });

  it("of somebody else's job is a refusal", () => {
    expect(parseOrder("qdel", ["17"], recorded("qdel-foreign")).get("17")?.result).toMatchObject({
      state: "refused",
      reason: expect.stringContaining("do not have the necessary privileges"),
    });
  });

  it("of a hold speaks of changes alone", () => {
    for (const name of ["qhold", "qrls"] as const) {
      const states = [...parseOrder(name, ["13", "777777"], recorded(name)).values()].map(
        ({ result: said }) => said.state,
      );
      expect([name, states]).toEqual([name, ["requested", "over"]]);
    }
  });

  it("E4: of a master that is down is none", () => {
    expect(parseOrder("qdel", ["7"], recorded("down-qdel")).get("7")?.result.state).toBe("unknown");
    expect(parseOrder("qhold", ["7"], recorded("down-qhold")).get("7")?.result.state).toBe("unknown");
    expect(parseOrder("qdel", ["7"], result({})).get("7")?.result.state).toBe("unknown");
    expect(parseOrder("qhold", ["7"], result({ exitCode: 1, stderr: "odd\n" })).get("7")?.result.state).toBe("unknown");
  });
});

describe("what is asked once", () => {
  it("is the version, the configuration and the account", () => {
    expect(qstatHelp().parse(recorded("qstat-help"))).toEqual({ ok: true, version: "SGE 8.1.9" });
    expect(qstatHelp().parse(result({ exitCode: 127, stderr: "not found" }))).toMatchObject({ ok: false });
    expect(qconfConfiguration().parse(recorded("qconf"))).toEqual({ ok: true, mostTasks: 75_000 });
    expect(qconfConfiguration().parse(recorded("down-qconf"))).toMatchObject({ ok: false });
    expect(accountName().parse(result({ stdout: "banner here\nalice\n" }))).toEqual({ ok: true, name: "alice" });
    expect(accountName().parse(result({ stdout: "*\n" }))).toMatchObject({ ok: false });
  });
});

it("any output gives an answer to everything", fuzzing, () => {
  const texts = ["qstat", "qacct-since", "qdel", "submit-ok", "qstat-reasons"].map((name) => recorded(name).stdout);
  const piece = oneof(
    string({ unit: "binary" }),
    constantFrom(
      ...texts,
      "<job_info>",
      "</job_info>",
      "<job_list ",
      "====\n",
      "jobnumber 1\n",
      "job 7 ",
      "\n",
      "1.1-4:1",
    ),
    integer({ min: 0, max: 3_000 }).map((at) => texts[0]?.slice(at) ?? ""),
  );
  const output = array(piece, { maxLength: 5 }).map((pieces) => pieces.join(""));
  assert(
    property(output, output, constantFrom(0, 1, 2, 3, 25, undefined), (stdout, stderr, exitCode) => {
      const given = result({ stdout, stderr, exitCode });
      if (exitCode !== 0) expect(finished(parseQstat(given)).state).toBe("unknown");
      expect(["submitted", "rejected", "limited", "unclear"]).toContain(parseQsub(given).state);
      parseQacct(given);
      parseReasons(given);
      expect([...parseOrder("qdel", ["7", "7.1"], given).keys()]).toEqual(["7", "7.1"]);
    }),
    fuzz(150),
  );
});
