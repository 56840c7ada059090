import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { json, reset } from "../../helpers/scripted-server.ts";
import { minutes, play, type Scene, seconds } from "./scene.ts";

const stdout = "PUT /siteagent/v1/jobs/j1/logs/stdout";

/** A job that runs and has written a line. */
async function writing(scene: Scene): Promise<string> {
  scene.hub.give("j1");
  await scene.until("it runs", () => scene.hub.states("j1").at(-1) === "RUNNING");
  const { directory } = (await scene.rig.job("j1")) ?? { directory: "" };
  const [attempt = ""] = await readdir(join(directory, "attempts"));
  const out = join(directory, "attempts", attempt, "out");
  await writeFile(out, "first\n");
  return out;
}

/** Offsets and bodies of what was sent. */
function sent(scene: Scene): readonly (readonly [string | null, string])[] {
  return scene.hub.server.requests
    .filter(({ method, path }) => `${method} ${path}` === stdout)
    .map(({ query, body }) => [query.get("offset"), body]);
}

it("log bytes that could not be sent are sent again from where the hub has them, ever more slowly while it is away", async () => {
  await using scene = await play({ agent: { report: "full" } });
  const { hub, rig } = scene;
  hub.server.on(stdout, reset);
  const out = await writing(scene);
  await scene.pass(10 * minutes);
  const tries = sent(scene).length;
  expect(tries).toBeGreaterThan(5);
  // Without a growing pause it were 120, or 240 as a connection that is cut is tried twice.
  expect(tries).toBeLessThan(80);
  expect(new Set(sent(scene).map(([offset]) => offset))).toEqual(new Set(["0"]));

  hub.server.on(stdout, ({ query, body }, response) =>
    json(200, { offset: Number(query.get("offset")) + body.length })({} as never, response),
  );
  await scene.until("it is sent", () => sent(scene).length > tries, 2 * minutes);
  await writeFile(out, "first\nsecond\n");
  await scene.until("the rest is sent", () => sent(scene).at(-1)?.[1] === "second\n", 1 * minutes);
  expect(sent(scene).slice(-2)).toEqual([
    ["0", "first\n"],
    ["6", "second\n"],
  ]);
  for (const token of rig.launcher.running) rig.launcher.end(token);
  await scene.until("the end is told", () => hub.states("j1").includes("JOB_FINISHED"));
  const whole = sent(scene).length;
  await scene.pass(5 * minutes);
  expect(sent(scene)).toHaveLength(whole);
});

it("log bytes that the hub refuses for good are not offered again, and the job goes on", async () => {
  await using scene = await play({ agent: { report: "full" } });
  const { hub, rig } = scene;
  hub.server.on(stdout, json(422, { code: "INVALID", detail: "no such stream" }));
  await writing(scene);
  await scene.until("it is refused", () => sent(scene).length > 0, 1 * minutes);
  await scene.pass(5 * minutes);
  expect(sent(scene)).toEqual([["0", "first\n"]]);
  for (const token of rig.launcher.running) rig.launcher.end(token);
  await scene.until("the end is told", () => hub.states("j1").includes("JOB_FINISHED"));
  await scene.pass(30 * seconds);
  expect(sent(scene)).toHaveLength(1);
});
