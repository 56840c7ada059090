import { expect, it } from "vitest";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { farSides, roundTrip } from "./round-trips.ts";

failOnLeakedProcesses();

/** Another seed is another tree; `npm run prove -- transfers` tries many, and large ones. */
const seed = Number(process.env["TEST_FUZZ_SEED"] ?? 11);

describeWithEngine("sshd", "a tree that goes there and comes back while lines are cut and the agent is killed", () => {
  it.each(farSides)("F3: is the same by digest: $name", { timeout: 180_000 }, async (side) => {
    const trip = await roundTrip(side, { seed, mostBytes: 4_000_000, mostFiles: 12, kills: 1, cutOnce: true });
    expect(trip.wrong).toEqual([]);
    expect(trip.kills).toBeGreaterThan(0);
    expect(trip.cuts).toBeGreaterThan(0);
  });
});
