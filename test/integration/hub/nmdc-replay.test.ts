import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { devHub, postgresHubs, type TestHub } from "./hubs.ts";
import { Replay, type Scenario } from "./replay.ts";

const folder = new URL("../../fixtures/nmdc-runtime/", import.meta.url);
const files = readdirSync(folder)
  .filter((name) => name.endsWith(".json"))
  .toSorted();

function scenarios(start: () => Promise<{ hub: TestHub } & AsyncDisposable>): void {
  let place: ({ hub: TestHub } & AsyncDisposable) | undefined;
  let replay: Replay | undefined;
  beforeAll(async () => {
    place = await start();
    replay = new Replay(place.hub);
  });
  afterAll(async () => place?.[Symbol.asyncDispose]());

  test.each(files)("%s", async (file) => {
    const scenario = JSON.parse(readFileSync(new URL(file, folder), "utf8")) as Scenario;
    const outcome = await replay?.run(scenario);
    expect(outcome?.differences).toEqual([]);
    expect(outcome?.steps).toBeGreaterThan(0);
    expect(outcome?.skipped).toBe(0);
  });
}

describe("recorded scenarios: sqlite", () => {
  scenarios(async () => {
    const hub = await devHub();
    return { hub, [Symbol.asyncDispose]: () => hub[Symbol.asyncDispose]() };
  });
});

describeWithEngine("postgres", "recorded scenarios: postgres", () => {
  scenarios(async () => {
    const place = await postgresHubs(1);
    const [hub] = place.hubs;
    if (!hub) throw new Error("no hub");
    return { hub, [Symbol.asyncDispose]: () => place[Symbol.asyncDispose]() };
  });
});
