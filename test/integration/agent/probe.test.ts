import { expect, it } from "vitest";
import type { Probe } from "../../../src/common/adapter.ts";
import { minutes, play } from "./scene.ts";

it("a launcher that cannot work here is shown with what to do, and asked each minute until it can", async () => {
  let answer: Probe = { ok: false, reason: "'flock' is missing", hint: "apt-get install util-linux" };
  let asked = 0;
  await using scene = await play({
    prepare: async (_directory, launcher) => {
      launcher.probe = async () => {
        asked++;
        return answer;
      };
    },
  });
  const { rig } = scene;
  const problem = () => rig.problem(/target 'local' cannot start attempts/);
  await scene.until("it is shown", problem);
  expect(await problem()).toMatchObject({
    what: "target 'local' cannot start attempts: 'flock' is missing",
    repair: "apt-get install util-linux",
  });
  expect((await rig.status()).targets[0]?.problem).toContain("'flock' is missing");
  await scene.pass(5 * minutes);
  expect(asked).toBeGreaterThanOrEqual(5);
  expect(asked).toBeLessThanOrEqual(7);
  answer = { ok: true, version: "1" };
  await scene.until("it works", async () => (await problem()) === undefined, 2 * minutes);
  const known = asked;
  await scene.pass(5 * minutes);
  expect(asked).toBe(known);
});
