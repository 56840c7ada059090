import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { HeldJob } from "../../../src/agent/held-job.ts";
import { offerOf, usageOf } from "../../../src/agent/slots.ts";
import type { Site, SiteTarget } from "../../../src/config/types.ts";
import { appOf } from "../jobs/builders.ts";
import { at, heldJobOf, liveAttempt } from "./builders.ts";

type OfferSite = Parameters<typeof offerOf>[0];

function siteOf(options: {
  readonly targets: Readonly<Record<string, number>>;
  readonly apps: Readonly<Record<string, { readonly target: string; readonly max_running?: number | undefined }>>;
  readonly maxJobs: number;
}): OfferSite {
  const targets = Object.entries(options.targets).map(([name, slots]): [string, SiteTarget] => [
    name,
    {
      name,
      host: "here",
      launcher: "local",
      slots,
      cores: undefined,
      memoryBytes: undefined,
      gpus: undefined,
      gpuVendor: "nvidia",
      gpuIds: [],
      allocation: false,
      shared: true,
      settings: {},
    },
  ]);
  const apps = Object.entries(options.apps).map(([name, { target, max_running }]) => [
    name,
    appOf({ workflow: `${name}-1`, target, ...(max_running === undefined ? {} : { max_running }) }, name),
  ]);
  // Only what an offer is made from.
  return {
    targets: Object.fromEntries(targets),
    apps: Object.fromEntries(apps),
    agent: { maxJobs: options.maxJobs },
  } as unknown as Site;
}

function jobOn(site: OfferSite, app: string, n: number, change: Partial<HeldJob> = {}): HeldJob {
  const known = site.apps[app] ?? appOf();
  return heldJobOf(`${app}${n}`, { app: known, target: known.target, ...change });
}

const states = fc.constantFrom("READY", "STAGED_IN", "RUNNING", "RUN_DONE", "STAGED_OUT", "RESTART_READY");

describe("an offer", () => {
  it("never lets in more than slots and max_jobs allow, however jobs, targets and apps lie", () => {
    const setting = fc.record({
      one: fc.integer({ min: 1, max: 5 }),
      two: fc.integer({ min: 1, max: 5 }),
      maxJobs: fc.integer({ min: 1, max: 12 }),
      maxRunning: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
      claiming: fc.nat(3),
      held: fc.array(fc.tuple(fc.constantFrom("a", "b", "c"), states), { maxLength: 12 }),
    });
    fc.assert(
      fc.property(setting, ({ one, two, maxJobs, maxRunning, claiming, held }) => {
        const apps = { a: { target: "one" }, b: { target: "one", max_running: maxRunning }, c: { target: "two" } };
        const site = siteOf({ targets: { one, two }, apps, maxJobs });
        const jobs = held.map(([app, state], n) => jobOn(site, app, n, { state }));
        const offer = offerOf(site, jobs, claiming, 0);
        expect(offer.maxAssign).toBeGreaterThanOrEqual(0);
        expect(offer.maxAssign + jobs.length + claiming).toBeLessThanOrEqual(Math.max(maxJobs, jobs.length + claiming));
        for (const { workflow, slots } of offer.free) {
          const target = workflow === "c-1" ? "two" : "one";
          const waiting = jobs.filter((job) => job.target === target && /READY|STAGED_IN|RUNNING/.test(job.state));
          expect(slots).toBeGreaterThan(0);
          expect(slots + waiting.length).toBeLessThanOrEqual(target === "one" ? one : two);
          if (workflow === "b-1" && maxRunning !== undefined) expect(slots).toBeLessThanOrEqual(maxRunning);
        }
      }),
    );
  });

  it("gives each app of a target the chance of all its free slots", () => {
    const site = siteOf({ targets: { one: 3 }, apps: { a: { target: "one" }, b: { target: "one" } }, maxJobs: 10 });
    expect(offerOf(site, [jobOn(site, "a", 1)], 0, 0)).toEqual({
      free: [
        { workflow: "a-1", slots: 2 },
        { workflow: "b-1", slots: 2 },
      ],
      maxAssign: 2,
    });
  });

  it("does not count jobs whose run is over: their outputs keep no slot from others", () => {
    const site = siteOf({ targets: { one: 1 }, apps: { a: { target: "one" } }, maxJobs: 10 });
    expect(offerOf(site, [jobOn(site, "a", 1, { state: "POSTPROCESSED" })], 0, 0).maxAssign).toBe(1);
    expect(offerOf(site, [jobOn(site, "a", 1, { state: "POSTPROCESSED", ended_at: at })], 0, 0).maxAssign).toBe(1);
  });

  it("counts a job that waits for its retry only in the last minute of its delay", () => {
    const site = siteOf({ targets: { one: 1 }, apps: { a: { target: "one" } }, maxJobs: 10 });
    const waiting = jobOn(site, "a", 1, { state: "RESTART_READY", not_before: "2026-01-01T01:00:00.000Z" });
    const offered = (minutes: number) => offerOf(site, [waiting], 0, Date.parse(at) + minutes * 60_000).maxAssign;
    expect([0, 58, 59, 61].map(offered)).toEqual([1, 1, 0, 0]);
  });

  it("stays within what one call of the wire takes", () => {
    const site = siteOf({ targets: { one: 50_000 }, apps: { a: { target: "one" } }, maxJobs: 1_000_000 });
    expect(offerOf(site, [], 0, 0).free).toEqual([{ workflow: "a-1", slots: 10_000 }]);
  });
});

describe("what is used of a target", () => {
  it("are attempts that were handed over and not proven dead, those of fenced jobs included", () => {
    const live = { attempt: 1, attempts: [liveAttempt()] };
    const dead = {
      attempt: 1,
      attempts: [{ ...liveAttempt(), end: { cause: "exit", evidence: "rc", ended_at: at } as const }],
    };
    const jobs = [
      heldJobOf("waiting"),
      heldJobOf("running", { state: "RUNNING", ...live }),
      heldJobOf("fenced", { state: "RUNNING", fenced: "gone", ...live }),
      heldJobOf("ended", { state: "RUN_DONE", ...dead }),
      heldJobOf("elsewhere", { state: "RUNNING", target: "other", ...live }),
    ];
    expect(usageOf(jobs, "local").running).toBe(2);
  });

  it("are the cores, memory and GPUs of all nodes of an attempt together", () => {
    const resources = { nodes: 3, ranks_per_node: 2, threads_per_rank: 2, gpus: 1, memory: 2 ** 30 };
    const job = heldJobOf("wide", {
      state: "RUNNING",
      app: { ...appOf(), resources },
      attempt: 1,
      attempts: [liveAttempt()],
    });
    expect(usageOf([job], "local").share).toEqual({ cores: 12, memoryBytes: 3 * 2 ** 30, gpus: 3 });
  });
});
