import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { hubOn, type TestHub } from "./hubs.ts";
import { Replay, type Scenario } from "./replay.ts";

const folder = new URL("../../fixtures/nmdc-runtime/", import.meta.url);
const files = readdirSync(folder)
  .filter((name) => name.endsWith(".json"))
  .toSorted();

function scenarios(kind: "sqlite" | "postgres"): void {
  let hub: TestHub | undefined;
  let replay: Replay | undefined;
  beforeAll(async () => {
    hub = await hubOn(kind);
    replay = new Replay(hub);
  });
  afterAll(async () => hub?.[Symbol.asyncDispose]());

  test.each(files)("%s", async (file) => {
    const scenario = JSON.parse(readFileSync(new URL(file, folder), "utf8")) as Scenario;
    const outcome = await replay?.run(scenario);
    expect(outcome?.differences).toEqual([]);
    expect(outcome?.steps).toBeGreaterThan(0);
    expect(outcome?.skipped).toBe(0);
  });
}

describe("recorded scenarios: sqlite", () => scenarios("sqlite"));
describeWithEngine("postgres", "recorded scenarios: postgres", () => scenarios("postgres"));
