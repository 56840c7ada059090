/** A seeded program of lies on a real socket, between the agent's own loops and a real hub; at the end the books balance. */
import { expect, it } from "vitest";
import { AgentRig } from "../../helpers/agent-rig.ts";
import { scaledClock } from "../../helpers/clocks.ts";
import { harmlessLies, LyingCentral } from "../../helpers/lying-central.ts";
import { seeded } from "../../helpers/random.ts";
import { waitFor } from "../../helpers/wait.ts";
import { startTestHub } from "../hub-v1/hub.ts";

const count = 40;
/** Real time is this much slower than the agent's and the hub's. */
const speed = 20;

it.each([
  ["hub", 1, 0.5],
  ["hub", 2, 0.5],
  ["nmdc", 3, 0.1],
] as const)(
  "A3, A4, A5, A8, A9, A14, A15, A16, A33: in the dialect %s, lied to by the program %i: every job runs once, ends once, and is told so",
  async (dialect, seed, share) => {
    const random = seeded(seed);
    const clock = scaledClock(speed);
    await using hub = await startTestHub("sqlite", { clock });
    const client = await hub.client("admin");
    await client.registries.putWorkflow("w", { name: "w" });
    await client.bulk(Array.from({ length: count }, () => ({ workflow: "w" })));
    await using central = await LyingCentral.start({
      target: hub.url,
      token: () => hub.siteToken("lab-a"),
      lies: harmlessLies,
      random,
    });
    central.share = share;
    const lies = (): number => [...central.told.values()].reduce((sum, times) => sum + times, 0);
    await using rig = await AgentRig.start({
      url: central.server.url,
      clock,
      dialect,
      slots: 3,
      api: { timeout: "6s", poll: "2s" },
      durationMs: () => 500 + random() * 5_000,
    });
    const view = (): ReturnType<typeof client.jobPage> => client.jobPage({ limit: 200, sort: "created_at" });
    const endedOf = async (): Promise<number> => (await view()).jobs.filter((job) => job.ended_at !== null).length;
    await waitFor(async () => lies() >= 60 || (await endedOf()) > (count * 2) / 3, {
      what: "enough lies",
      timeoutMs: 40_000,
    });
    central.share = 0;
    await waitFor(async () => (await endedOf()) === count, { what: "all ends", timeoutMs: 40_000 });
    await rig.until("all is acknowledged", ({ outbox }) => outbox.unsent + outbox.parked === 0);

    expect(lies()).toBeGreaterThan(25);
    expect(rig.launcher.starts.every((starts) => starts === 1)).toBe(true);
    expect(rig.launcher.attempts.size).toBe(count);
    expect(rig.launcher.running).toEqual([]);
    const { jobs } = await view();
    const ends = jobs.map(({ status, attempt, failure }) => `${status} ${attempt} ${failure?.message ?? ""}`.trim());
    expect(new Set(ends)).toEqual(new Set(["FINISHED 1"]));
    const here = await rig.status();
    expect(new Set(here.jobs.map(({ id, state }) => `${id} ${state}`))).toEqual(
      new Set(jobs.map(({ id }) => `${id} JOB_FINISHED`)),
    );
  },
);
