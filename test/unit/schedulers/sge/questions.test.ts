/** How many questions jobs cost, and what is answered when not all of them are asked for at once. */
import { expect, it } from "vitest";
import { newToken, type Token } from "../../../../src/common/token.ts";
import { callContext } from "../../../../src/conformance/suite.ts";
import type { Host, RunRequest, RunResult } from "../../../../src/hosts/types.ts";
import { patternOf } from "../../../../src/schedulers/sge/accounting.ts";
import { createGridEngine } from "../../../../src/schedulers/sge/index.ts";
import type { ScheduledJob, ScheduledStatus } from "../../../../src/schedulers/types.ts";
import { VirtualClock } from "../../../helpers/clocks.ts";
import { stubOf } from "../../../helpers/stub.ts";

const clock = new VirtualClock();
const submittedAt = new Date(clock.now()).toISOString();

/** A cell whose queue and accounting file are lists; it answers as the commands do. */
class Cell {
  readonly clock = new VirtualClock();
  readonly calls: (readonly string[])[] = [];
  readonly waiting: ScheduledJob[] = [];
  /** Of these there are records; `list` is false of those that were never begun. */
  readonly ended: { readonly job: ScheduledJob; readonly begun: boolean }[] = [];
  /** The list of all is longer than can be read. */
  endless = false;
  readonly scheduler = createGridEngine({
    host: stubOf<Host>({ run: async (request) => this.#run(request) }),
    environment: { PATH: "/bin", SGE_ROOT: "/sge" },
  });

  jobs(count: number, from: number): readonly ScheduledJob[] {
    return Array.from({ length: count }, (_, index) => ({ id: String(from + index), token: newToken(), submittedAt }));
  }

  async ask(jobs: readonly ScheduledJob[]): Promise<{ calls: readonly string[]; states: readonly string[] }> {
    this.calls.length = 0;
    const statuses: readonly ScheduledStatus[] = await this.scheduler.statuses(jobs, {
      ...callContext(),
      clock: this.clock,
    });
    const calls = this.calls.map((argv) => argv.slice(0, argv[0] === "qacct" ? 2 : 1).join(" "));
    return { calls: calls.filter((call) => call !== "id"), states: [...new Set(statuses.map(({ state }) => state))] };
  }

  #run({ argv }: RunRequest): RunResult {
    this.calls.push(argv);
    const [command, option, operand = ""] = argv;
    const said = (stdout: string, more: Partial<RunResult> = {}): RunResult => ({
      ...{ exitCode: 0, signal: undefined, stdout, stderr: "", truncated: false, timedOut: false },
      ...more,
    });
    if (command === "id") return said("tester\n");
    if (command === "qstat" && option === "-j") return said("");
    if (command === "qstat") return said(this.#queue());
    if (option === "-o" && this.endless) return said("", { truncated: true, signal: "SIGKILL", exitCode: undefined });
    const fits = (name: string, id: string): boolean => id === operand || new RegExp(`^${operand}$`).test(name);
    const records = this.ended.filter(({ job, begun }) => (option === "-o" ? begun : fits(job.token, job.id)));
    if (records.length === 0 && option === "-j")
      return said("", { exitCode: 1, stderr: `error: job name ${operand} not found\n` });
    return said(records.map(({ job, begun }) => recordOf(job, begun)).join(""));
  }

  #queue(): string {
    const line = ({ id, token }: ScheduledJob): string =>
      `<job_list state="pending"><JB_job_number>${id}</JB_job_number><full_job_name>${token}</full_job_name><state>qw</state></job_list>`;
    return `<job_info>${this.waiting.map(line).join("")}</job_info>`;
  }
}

function recordOf({ id, token }: ScheduledJob, begun: boolean): string {
  const failed = begun ? "0" : "1  : assumedly before job";
  return `${"=".repeat(62)}\njobname      ${token}\njobnumber    ${id}\nowner        tester\ntaskid       undefined\nfailed       ${failed}\nexit_status  0\n`;
}

it("E18: of ten thousand jobs that have ended each interval costs one question of the queue and one of accounting", async () => {
  const cell = new Cell();
  const jobs = cell.jobs(10_000, 1);
  cell.ended.push(...jobs.map((job) => ({ job, begun: true })));
  const { calls, states } = await cell.ask(jobs);
  expect(calls).toEqual(["qstat", "qacct -o"]);
  expect(states).toEqual(["ended"]);
});

it("E18: few are one question by their names, which fits those that were never begun, too", async () => {
  const cell = new Cell();
  const jobs = cell.jobs(16, 1);
  cell.ended.push(...jobs.map((job, index) => ({ job, begun: index > 3 })));
  cell.ended.push(...cell.jobs(500, 100).map((job) => ({ job, begun: true })));
  const { calls, states } = await cell.ask(jobs);
  expect(calls).toEqual(["qstat", "qacct -j"]);
  expect(states).toEqual(["ended"]);
});

it("E18: never more than two questions, whatever is missing, waits or was never begun, and each gets its answer in time", async () => {
  const cell = new Cell();
  const [listed, unlisted, waiting] = [cell.jobs(300, 1), cell.jobs(40, 1_000), cell.jobs(200, 2_000)];
  cell.waiting.push(...waiting);
  cell.ended.push(...listed.map((job) => ({ job, begun: true })), ...unlisted.map((job) => ({ job, begun: false })));
  const left = new Set([...listed, ...unlisted]);
  let reasons = 0;
  for (let round = 0; round < 20; round++) {
    const jobs = [...left, ...waiting];
    cell.calls.length = 0;
    const statuses = await cell.scheduler.statuses(jobs, { ...callContext(), clock: cell.clock });
    const asked = cell.calls.filter(([command]) => command !== "id");
    expect(asked.length).toBeLessThanOrEqual(2);
    reasons += asked.filter((argv) => argv[0] === "qstat" && argv[1] === "-j").length;
    for (const [index, job] of jobs.entries()) {
      const state = statuses[index]?.state;
      expect(state).not.toBe("absent");
      if (state === "ended") left.delete(job);
    }
    await cell.clock.advance(30_000);
  }
  expect([...left]).toEqual([]);
  expect(reasons).toBeGreaterThan(0);
});

it("a list that is longer than can be read is given up for questions by name", async () => {
  const cell = new Cell();
  cell.endless = true;
  const jobs = cell.jobs(40, 1);
  cell.ended.push(...jobs.map((job) => ({ job, begun: true })));
  expect(await cell.ask(jobs)).toEqual({ calls: ["qstat", "qacct -o"], states: ["unknown"] });
  for (const states of [["ended", "unknown"], ["ended", "unknown"], ["ended"]])
    expect(await cell.ask(jobs)).toEqual({ calls: ["qstat", "qacct -j"], states });
});

it("what is in no list and under no name is absent, and stays so between two questions by name", async () => {
  const cell = new Cell();
  const jobs = cell.jobs(17, 1);
  const seen: (readonly string[])[] = [];
  for (let round = 0; round < 6; round++) {
    seen.push((await cell.ask(jobs)).states);
    await cell.clock.advance(10_000);
  }
  expect(seen[0]).toEqual(["unknown"]);
  expect(seen.slice(4)).toEqual([["absent"], ["absent"]]);
});

it("E24: that another cell does not have a job is no absence", async () => {
  const cell = new Cell();
  const [job] = cell.jobs(1, 1);
  if (job === undefined) throw new Error("no job");
  expect((await cell.ask([{ ...job, origin: "/sge/default" }])).states).toEqual(["absent"]);
  expect((await cell.ask([{ ...job, origin: "/sge/other" }])).states).toEqual(["unknown"]);
});

it("the pattern of some names fits them, and no other in practice", () => {
  const names = Array.from({ length: 16 }, () => newToken());
  const pattern = new RegExp(`^${patternOf(names)}$`);
  for (const name of names) expect(name).toMatch(pattern);
  const others = Array.from({ length: 1_000 }, (): Token => newToken()).filter((name) => pattern.test(name));
  expect(others).toEqual([]);
});
