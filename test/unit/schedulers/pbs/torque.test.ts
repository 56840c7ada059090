/** How many questions Torque is asked, and what is known of whom a question left out. */
import { expect, it } from "vitest";
import { newToken } from "../../../../src/common/token.ts";
import { callContext } from "../../../../src/conformance/suite.ts";
import type { Host, RunRequest, RunResult } from "../../../../src/hosts/types.ts";
import { createPbs } from "../../../../src/schedulers/pbs/index.ts";
import type { ScheduledJob } from "../../../../src/schedulers/types.ts";
import { stubOf } from "../../../helpers/stub.ts";

const context = callContext();
const submittedAt = "2026-11-21T16:00:00.000Z";

/** A server that has these jobs; it answers as Torque's qstat does. */
class Server {
  readonly calls: (readonly string[])[] = [];
  readonly has = new Map<string, ScheduledJob>();
  /** The list of all is longer than can be read. */
  endless = false;
  readonly scheduler = createPbs({
    host: stubOf<Host>({ run: async (request) => this.#run(request) }),
    environment: { PATH: "/bin" },
  });

  jobs(count: number): readonly ScheduledJob[] {
    const jobs = Array.from({ length: count }, (_, index) => ({
      ...{ id: `${index + 1}.server`, token: newToken(), submittedAt },
    }));
    for (const job of jobs) this.has.set(job.id, job);
    return jobs;
  }

  async states(jobs: readonly ScheduledJob[]): Promise<Record<string, number>> {
    this.calls.length = 0;
    const counts: Record<string, number> = {};
    for (const { state } of await this.scheduler.statuses(jobs, context)) counts[state] = (counts[state] ?? 0) + 1;
    return counts;
  }

  /** Ids in each question so far; 0: a list of all. */
  get asked(): readonly number[] {
    return this.calls
      .filter((argv) => argv.includes("-f"))
      .map((argv) => argv.length - "qstat -f -1 -t".split(" ").length);
  }

  #run({ argv }: RunRequest): RunResult {
    this.calls.push(argv);
    const said = (stdout: string, stderr: string, more: Partial<RunResult> = {}): RunResult => ({
      ...{ exitCode: 0, signal: undefined, stdout, stderr, truncated: false, timedOut: false },
      ...more,
    });
    if (argv.includes("--version")) return said("", "Version: 6.1.3\n");
    const ids = argv.filter((word) => /^\d/.test(word));
    if (ids.length === 0 && this.endless) return said("Job Id: 1.server\n", "", { truncated: true });
    const shown = ids.length === 0 ? [...this.has.keys()] : ids.filter((id) => this.has.has(id));
    const unknown = ids.filter((id) => !this.has.has(id)).map((id) => `qstat: Unknown Job Id Error ${id}\n`);
    const text = (id: string): string =>
      `Job Id: ${id}\n    Job_Name = ${this.has.get(id)?.token}\n    job_state = R\n\n`;
    return said(shown.map(text).join(""), unknown.join(""), { exitCode: unknown.length > 0 ? 153 : 0 });
  }
}

it("E18: ten thousand jobs are one list of all, and one question about those that it leaves out", async () => {
  const server = new Server();
  const jobs = server.jobs(10_000);
  expect(await server.states(jobs)).toEqual({ running: 10_000 });
  expect(server.asked).toEqual([0]);
  for (const { id } of jobs.slice(0, 1_500)) server.has.delete(id);
  expect(await server.states(jobs)).toEqual({ running: 8_500, absent: 1_000, unknown: 500 });
  expect(server.asked).toEqual([0, 1_000]);
  // Whoever was left out comes next.
  expect(await server.states(jobs.slice(1_000))).toEqual({ running: 8_500, absent: 500 });
  expect(server.asked).toEqual([0, 500]);
});

it("E18: where the list of all is too long they are asked for in turn, two questions at a time", async () => {
  const server = new Server();
  server.endless = true;
  const jobs = server.jobs(3_000);
  expect((await server.states(jobs))["running"] ?? 0).toBe(0);
  for (let turn = 0; turn < 2; turn++) {
    expect((await server.states(jobs))["running"]).toBe(2_000);
    expect(server.asked).toEqual([1_000, 1_000]);
  }
});

it("E9: a list of all that is empty, with exit status 0, is no absence: each is asked for by its id", async () => {
  const server = new Server();
  const jobs = server.jobs(1_001);
  const known = new Map(server.has);
  server.has.clear();
  expect(await server.states(jobs)).toEqual({ absent: 1_000, unknown: 1 });
  for (const [id, job] of known) server.has.set(id, job);
  expect(await server.states(jobs)).toEqual({ running: 1_001 });
});
