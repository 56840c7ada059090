import { describe, expect, test } from "vitest";
import { infoOf } from "../../../src/cli/format/job.ts";
import { barText, liveText, transferText } from "../../../src/cli/format/progress.ts";
import { printResults } from "../../../src/cli/format/results.ts";
import { statusText } from "../../../src/cli/format/status.ts";
import { storyText } from "../../../src/cli/format/story.ts";
import { rowOf } from "../../../src/cli/backend/local.ts";
import type { LocalJob, StatusView } from "../../../src/wire/control-api.ts";
import { fakeContext } from "./context.ts";

const at = "2026-11-20T11:00:00Z";
const job: LocalJob = {
  id: "nmdc:sys0job",
  workflow: "readqc-1.0.0",
  app: "readqc",
  target: "cpu",
  name: null,
  status: "BLOCKED",
  state: "READY",
  phase: "staging",
  hold: {
    kind: "blocked",
    reason: "the source does not answer",
    since: at,
    tries: 4,
    next_try_at: "2026-11-20T12:01:00Z",
  },
  attempt: 0,
  op_id: "nmdc:sys0op",
  epoch: 1,
  claimed_at: at,
  updated_at: at,
  ended_at: null,
  failure: null,
  end: null,
  waiting: null,
  unsent: 2,
  fenced: null,
  directory: "/work/x",
  progress: null,
};
const troubled: StatusView = {
  site: "lab-a",
  version: "1.2.3",
  mode: "draining",
  mode_reason: "upgrade\u001b[2J",
  mode_by: "ann",
  mode_until: null,
  since: at,
  pid: 42,
  problems: [{ what: "the disk is full", since: at, repair: "make room below /work" }],
  api: {
    url: "https://api.example.org",
    dialect: "nmdc",
    reachable: false,
    since: "2026-11-20T11:30:00Z",
    last_sync_at: "2026-11-20T11:29:00Z",
    next_sync_at: "2026-11-20T12:00:10Z",
    last_error: "connect ECONNREFUSED",
  },
  jobs: [job, { ...job, id: "nmdc:sys0ended", status: "FINISHED", state: "JOB_FINISHED", hold: null, ended_at: at }],
  targets: [{ name: "cpu", launcher: "local", slots: 4, used: 0, tier: "subreaper", problem: "no runner" }],
  apps: [{ name: "readqc", workflow: "readqc-1.0.0", target: "cpu", running: 1 }],
  outbox: { unsent: 2, oldest_at: "2026-11-20T11:31:00Z", parked: 1 },
  journal: { health: "ok", bytes: 2048, records: 12, last_sync_ms: 1.25 },
  cache: {
    directory: "/scratch/input-cache",
    bytes: 2 ** 30,
    files: 3,
    max_bytes: 2 ** 31,
    hits: 4,
    misses: 5,
    saved_bytes: 2 ** 32,
    evicted: 0,
    spoilt: 1,
  },
  config: { file: "/etc/siteagent/site.yaml", digest: "d", loaded_at: at, problem: null },
  next: ["try to reach central in 10 s"],
  log: ["1", "2", "3", "4", "5", "2026-11-20T11:59:00.000Z warn central is away"],
};

describe("status", () => {
  test("tells everything that is wrong, each with its repair", async () => {
    const text = statusText(fakeContext(), troubled);
    for (const words of [
      "State: draining (upgrade\\u001b[2J, by ann)",
      "degraded: 1 problem",
      "not reachable since 30m ago",
      "connect ECONNREFUSED",
      "1 held: 1 BLOCKED",
      "2 unsent, the oldest of 29m ago, 1 refused by the server",
      "1 GiB in 3 files of at most 2 GiB; 4 hits (4 GiB), 5 missed, 1 spoilt and removed",
      "▲ the disk is full (1h ago)\n    → make room below /work",
      "no runner",
      "the source does not answer; next try in 1m",
      "→ try to reach central in 10 s",
      "11:59:00 warn central is away",
    ]) {
      expect(text).toContain(words);
    }
    expect(text).not.toContain("nmdc:sys0ended");
    expect(text).not.toContain("\u001b");
  });

  test("shows the last five log lines only", async () => {
    const text = statusText(fakeContext(), troubled);
    expect(text.split("Log\n")[1]?.trimEnd().split("\n")).toHaveLength(5);
  });

  test("fits a terminal of 60 columns", async () => {
    const text = statusText(fakeContext({ columns: 60 }), troubled);
    expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThanOrEqual(60);
  });
});

describe("the story of a job", () => {
  const story = {
    row: rowOf({
      ...job,
      status: "FAILED",
      state: "FAILED",
      phase: "none",
      hold: null,
      ended_at: "2026-11-20T11:10:00Z",
      attempt: 2,
      failure: { code: "EXIT_CODE", category: "user", message: "it failed", hint: "see its log" },
    }),
    timeline: [
      { at, what: "READY", attempt: 0, status: "claimed", message: "" },
      { at: "2026-11-20T11:00:30Z", what: "RUNNING", attempt: 1, status: "", message: "" },
      { at: "2026-11-20T11:10:00Z", what: "FAILED", attempt: 2, status: "", message: "it failed" },
    ],
    attempts: [
      {
        attempt: 1,
        directory: "/work/x/1",
        end: {
          cause: "oom",
          exit_code: 137,
          signal: "SIGKILL",
          evidence: "rc",
          started_at: at,
          ended_at: "2026-11-20T11:05:00Z",
          usage: { max_rss_bytes: 3 * 1024 ** 3, cpu_seconds: 4.25 },
        },
      },
      { attempt: 2, directory: "/work/x/2", end: null },
    ],
    inputs: [{ item: "reads", path: "reads.fq", bytes: 2048, sha256: "ab".repeat(32), where: "" }],
    outputs: [],
    asked: { config: { n: 4, list: [1] }, parameters: { sample: "S1" } },
    raw: {},
  } as const;

  test("has timeline, attempts, files, failure and what was asked", async () => {
    const text = storyText(fakeContext(), story);
    for (const words of [
      "Status: FAILED, attempt 2",
      "Took: 10m since it was claimed",
      "Kind: EXIT_CODE, of the job",
      "Hint: see its log",
      "oom, exit code 137, SIGKILL, after 5m, 4.3 s of CPU, peak 3 GiB",
      "reads  reads.fq  2 KiB  abababababab",
      "config.list: [1]",
      "parameters.sample: S1",
    ]) {
      expect(text).toContain(words);
    }
    expect(text).toMatch(/READY +claimed +30s/);
    expect(text).toMatch(/RUNNING +1 +9m 30s/);
    expect(text).not.toContain("Outputs");
  });
});

describe("results", () => {
  const good = { requested: "cancel requested", done: "cancelled" };
  const results = [
    { id: "a", result: "requested" },
    { id: "b", result: "already-ended" },
    { id: "c", result: "refused", detail: "not yours" },
  ] as const;

  test("have a line each, and the exit code tells of a refusal", async () => {
    const context = fakeContext();
    expect(await printResults(context, results, good)).toBe(1);
    expect(context.printed.join("")).toBe("✔ a  cancel requested\n– b  had ended already\n✖ c  refused: not yours\n");
    expect(await printResults(fakeContext(), results.slice(0, 2), good)).toBe(0);
  });

  test("are data in machine formats", async () => {
    const context = fakeContext({ format: "jsonl" });
    await printResults(context, results, good);
    expect(context.printed.map((line) => (JSON.parse(line) as { id: string }).id)).toEqual(["a", "b", "c"]);
    const yaml = fakeContext({ format: "yaml" });
    await printResults(yaml, results, good);
    expect(yaml.printed.join("")).toContain("results:\n  - id: a\n    result: requested\n");
  });
});

describe("the progress bar", () => {
  const state = { count: 3, files: 6, bytes: 512 * 1024, total: 1024 ** 2, what: "report\u001b.json" };
  test("shows part, files and bytes, and fits the terminal", () => {
    const wide = barText(fakeContext({ columns: 100 }), state);
    expect(wide).toBe(`${"█".repeat(12)}${"░".repeat(12)} 50%  3 of 6 files  512 KiB of 1 MiB  report\\u001b.json`);
    expect(barText(fakeContext({ columns: 50 }), state).length).toBeLessThanOrEqual(50);
  });

  const moving = {
    stage: "inputs",
    item: "reads",
    path: "run1/reads.fq",
    bytes: 1024 ** 3,
    total_bytes: 4 * 1024 ** 3,
    files: 3,
    total_files: 6,
    bytes_per_second: 52 * 1024 ** 2,
    eta_seconds: 59,
  } as const;

  test("of a job's files shows part, files, bytes, rate and what is left; without a bar where nobody knows how much it is", () => {
    const row = rowOf({ ...job, hold: null, status: "STAGING_INPUTS", progress: moving });
    expect(transferText(fakeContext({ columns: 100 }), moving)).toBe(
      `${"█".repeat(6)}${"░".repeat(18)} inputs: 25%, 3 of 6 files, 1 GiB of 4 GiB, 52 MiB/s, 59s left`,
    );
    expect(infoOf(row, 0)).toBe("moving inputs: 25%, 3 of 6 files, 1 GiB of 4 GiB, 52 MiB/s, 59s left");
    expect(liveText(fakeContext({ columns: 100 }), moving)).toBe(
      `${"█".repeat(2)}${"░".repeat(6)} 25%  59s left  52 MiB/s  3 of 6 files  1 GiB of 4 GiB`,
    );
    const unknown = { ...moving, total_bytes: null, total_files: null, bytes_per_second: null, eta_seconds: null };
    expect(transferText(fakeContext({ columns: 100 }), unknown)).toBe("inputs: 3 files, 1 GiB");
    const text = storyText(fakeContext({ columns: 120 }), {
      row,
      timeline: [],
      attempts: [],
      inputs: [],
      outputs: [],
      asked: {},
      raw: {},
    });
    expect(text).toContain("Moving: ██████");
    expect(text).toContain("File: run1/reads.fq");
  });
});
