/** What central does not take from the holder of a job: outputs, reports. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { json } from "../../helpers/scripted-server.ts";
import { minutes, play, type Scene } from "./scene.ts";

const outputs = { result: { from: "result.txt" } };
const outputRoute = "PUT /siteagent/v1/jobs/j1/outputs/*";

/** Brings a job to where it runs and has made its output; its directory. */
async function runningWithOutput(scene: Scene): Promise<string> {
  scene.hub.give("j1");
  await scene.until("it runs", () => scene.hub.states("j1").at(-1) === "RUNNING");
  const { directory } = (await scene.rig.job("j1")) ?? { directory: "" };
  await writeFile(join(directory, "work", "result.txt"), "42\n");
  return directory;
}

function end(scene: Scene, exitCode: number): void {
  for (const token of scene.rig.launcher.running) scene.rig.launcher.end(token, exitCode);
}

it("A12: an output that is refused because another site holds the job ends all writes for it; it does not fail, and what lies here is kept", async () => {
  await using scene = await play({ apps: { w: { outputs } } });
  const { hub, rig } = scene;
  hub.server.on(outputRoute, json(409, { detail: "epoch 1 is over", code: "STALE_EPOCH" }));
  const directory = await runningWithOutput(scene);
  end(scene, 0);
  await scene.until("it is given up", async () => (await rig.job("j1")) === undefined);
  expect(rig.log.lines.some((line) => line.includes("job was taken from this site"))).toBe(true);
  const told = hub.applied.length;
  await scene.pass(10 * minutes);
  expect(hub.applied).toHaveLength(told);
  expect(hub.states("j1")).not.toContain("FAILED");
  await expect(writeFile(join(directory, "work", "still-there"), "")).resolves.toBeUndefined();
});

it("outputs of a failed job that the hub does not take leave its end as it was decided, and say that they are missing", async () => {
  await using scene = await play({ apps: { w: { outputs, archive: "always" } } });
  const { hub } = scene;
  hub.server.on(outputRoute, json(422, { detail: "no such output", code: "INVALID" }));
  await runningWithOutput(scene);
  end(scene, 3);
  await scene.until("its end is told", () => hub.states("j1").at(-1) === "FAILED");
  expect(hub.server.requests.some(({ method }) => method === "PUT")).toBe(true);
  expect(hub.applied.at(-1)).toMatchObject({
    done: true,
    failure: { code: "EXIT_CODE", exit_code: 3 },
    message: expect.stringContaining("outputs were not archived"),
  });
});

it("a report that central refuses holds back the later ones of its job alone, is shown, and is offered again by the next start", async () => {
  await using scene = await play();
  const { hub, rig } = scene;
  for (const id of ["j1", "j2"]) hub.give(id);
  await scene.until("both run", () => ["j1", "j2"].every((id) => hub.states(id).at(-1) === "RUNNING"));
  hub.refused.add("j1");
  end(scene, 0);
  await scene.until("the other's end is told", () => hub.states("j2").at(-1) === "JOB_FINISHED");
  await scene.until("it is shown", async () => (await rig.status()).outbox.parked === 1);
  expect(hub.states("j1").at(-1)).toBe("RUNNING");
  const calls = hub.reportedAt.length;
  await scene.pass(10 * minutes);
  expect(hub.reportedAt).toHaveLength(calls);
  hub.refused.clear();
  await rig.restart();
  await scene.until("its end is told", () => hub.states("j1").at(-1) === "JOB_FINISHED");
  expect(rig.launcher.starts).toEqual([1, 1]);
});

it("with agent.claim: false nothing is asked for, central hears why, and what is held goes on", async () => {
  await using scene = await play({ agent: { claim: false } });
  const { hub } = scene;
  await scene.until("some calls", () => hub.called.length > 2);
  for (const { body } of hub.called.slice(1)) {
    expect(body).toMatchObject({
      free: [],
      max_assign: 0,
      health: { not_accepting: "agent.claim is false in the site file" },
    });
  }
});
