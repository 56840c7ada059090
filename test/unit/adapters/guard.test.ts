import { describe, expect, it } from "vitest";
import { Current } from "../../../src/adapters/current.ts";
import { guardedLauncher, guardedScheduler } from "../../../src/adapters/guard.ts";
import { Fault } from "../../../src/common/fault.ts";
import { newToken } from "../../../src/common/token.ts";
import { callContext } from "../../../src/conformance/suite.ts";
import type { Launcher } from "../../../src/launchers/types.ts";
import type { ScheduledJob, Scheduler, SubmitRequest } from "../../../src/schedulers/types.ts";

const context = callContext();
const job: ScheduledJob = { id: "7", token: newToken(), submittedAt: "2026-01-02T03:04:05.678Z" };
const request = {} as SubmitRequest;

/** A scheduler or launcher whose verbs all answer that. */
function answering(answer: unknown): never {
  const verb = async (): Promise<unknown> => answer;
  const verbs = ["submit", "find", "statuses", "cancel", "hold", "release", "launch", "stop"];
  return { kind: "own", ...Object.fromEntries(verbs.map((name) => [name, verb])) } as never;
}

function once<Adapter extends AsyncDisposable>(adapter: Adapter): Current<Adapter> {
  return new Current("1", () => adapter);
}

const scheduler = (answer: unknown): Scheduler => guardedScheduler("own", once(answering(answer)));
const launcher = (answer: unknown): Launcher => guardedLauncher("own", once(answering(answer)));

describe("answers of a site's own scheduler", () => {
  it.each([
    ["submit", [{ state: "submitted", job }]],
    ["submit", [{ state: "limited", reason: "full" }]],
    ["find", [{ state: "found", jobs: [job] }]],
    ["find", [{ state: "absent" }]],
    ["statuses", [{ state: "running" }]],
    ["statuses", [{ state: "ended", verdict: { kind: "failed", exitCode: 3, raw: "3", source: "queue" } }]],
    ["cancel", [{ state: "refused", reason: "no" }]],
  ] as const)("pass as they are: %s %j", async (verb, answer) => {
    const ask = scheduler(answer)[verb] as (items: readonly unknown[], given: unknown) => Promise<unknown>;
    expect(await ask([request], context)).toEqual(answer);
  });

  it.each<[string, unknown]>([
    ["nothing", undefined],
    ["no list", { state: "submitted", job }],
    ["too few", []],
    [
      "too many",
      [
        { state: "rejected", reason: "a" },
        { state: "rejected", reason: "b" },
      ],
    ],
    ["another word", [{ state: "done", job }]],
    ["no id", [{ state: "submitted", job: { token: job.token, submittedAt: job.submittedAt } }]],
    ["a time that is none", [{ state: "submitted", job: { ...job, submittedAt: "yesterday" } }]],
    ["no reason", [{ state: "rejected" }]],
  ])("of a submission claim nothing when they are none: %s", async (_what, answer) => {
    const [result] = await scheduler(answer).submit([request], context);
    expect(result).toMatchObject({ state: "unclear", why: expect.stringContaining("scheduler 'own' gave no answer") });
  });

  it.each<[string, unknown]>([
    ["nothing", null],
    ["an end without how", [{ state: "ended" }]],
    ["an end of another kind", [{ state: "ended", verdict: { kind: "fine", raw: "", source: "queue" } }]],
    ["a text", ["running"]],
  ])("about a job say nothing when they are none: %s", async (_what, answer) => {
    expect(await scheduler(answer).statuses([job], context)).toMatchObject([{ state: "unknown" }]);
    expect(await scheduler(answer).find([{ token: job.token, since: job.submittedAt }], context)).toMatchObject([
      { state: "unknown" },
    ]);
    expect(await scheduler(answer).cancel([job], context)).toMatchObject([{ state: "unknown" }]);
  });

  it("an exception after which nobody knows what was done claims nothing; a Fault says that nothing was", async () => {
    const failing = (error: Error): Scheduler => {
      const submit = (): never => {
        throw error;
      };
      return guardedScheduler("own", once<Scheduler>({ ...(answering([]) as Scheduler), submit }));
    };
    expect(await failing(new TypeError("slip")).submit([request], context)).toMatchObject([{ state: "unclear" }]);
    const away = new Fault("UNREACHABLE", "away");
    await expect(failing(away).submit([request], context)).rejects.toBe(away);
  });

  it("a probe that throws is one that says no", async () => {
    const probe = async (): Promise<never> => Promise.reject(new Error("slip"));
    const own = { ...(answering([]) as Scheduler), probe };
    expect(await guardedScheduler("own", once(own)).probe(context)).toEqual({ ok: false, reason: "slip" });
  });
});

describe("answers of a site's own launcher", () => {
  const ref = { token: job.token, directory: "/x" };

  it("pass as they are", async () => {
    const ended = [
      { state: "ended", end: { cause: "exit", exit_code: 0, ended_at: job.submittedAt }, remaining: [], tier: "group" },
    ];
    expect(await launcher(ended).statuses([ref], context)).toEqual(ended);
    const accepted = [{ state: "accepted", handle: { adapter: "own", version: 1, data: { pid: 7 } } }];
    expect(await launcher(accepted).launch([{} as never], context)).toEqual(accepted);
  });

  it.each<[string, unknown]>([
    ["an acceptance without handle", [{ state: "accepted" }]],
    ["an end without cause", [{ state: "ended", end: {}, remaining: [], tier: "group" }]],
    ["gone, and no word how that is known", [{ state: "gone" }]],
  ])("claim nothing when they are none: %s", async (_what, answer) => {
    expect(await launcher(answer).launch([{} as never], context)).toMatchObject([{ state: "unknown" }]);
    expect(await launcher(answer).statuses([ref], context)).toMatchObject([{ state: "unknown", why: "unrecognised" }]);
    expect(await launcher(answer).stop([ref], { graceMs: 1, reason: "test" }, context)).toMatchObject([
      { state: "unknown" },
    ]);
  });
});

describe("an adapter whose module was mended", () => {
  it("is used by all who held the one before, and its hints are heard", async () => {
    const ended: string[] = [];
    const watching: string[] = [];
    const made = (name: string): Launcher => ({
      ...(answering([{ state: "unknown", why: name }]) as Launcher),
      watch: () => {
        watching.push(name);
        return { [Symbol.dispose]: () => void watching.splice(watching.indexOf(name), 1) };
      },
      [Symbol.asyncDispose]: async () => void ended.push(name),
    });
    const current = new Current("1", () => made("old"));
    const held = guardedLauncher("own", current);
    const watch = held.watch(() => {});
    current.renew("1", () => made("same"));
    const ask = () => held.stop([{ token: job.token, directory: "/x" }], { graceMs: 1, reason: "test" }, context);
    expect([await ask(), watching]).toEqual([[{ state: "unknown", why: "old" }], ["old"]]);
    current.renew("2", () => made("new"));
    expect([await ask(), watching]).toEqual([[{ state: "unknown", why: "new" }], ["new"]]);
    watch[Symbol.dispose]();
    await held[Symbol.asyncDispose]();
    await held[Symbol.asyncDispose]();
    expect([watching, ended]).toEqual([[], ["old", "new"]]);
  });
});
