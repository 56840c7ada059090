import { expect, it } from "vitest";
import type { Token } from "../../../src/common/token.ts";
import type { TransferAdapter } from "../../../src/transfer/types.ts";
import { fillWithRunning } from "./followed-jobs.ts";
import { play } from "./scene.ts";

/** Carries nothing; hears which jobs need nothing more. */
function listener(abandoned: Token[]): TransferAdapter {
  const unused = (): Promise<never> => Promise.reject(new Error("not used"));
  return {
    kind: "service",
    schemes: ["service"],
    capabilities: { resume: false, list: true, write: true, digest: false },
    probe: async () => ({ ok: true, version: "1" }),
    list: unused,
    read: unused,
    write: unused,
    verify: unused,
    abandon: async (token) => {
      abandoned.push(token);
      throw new Error("the service does not answer");
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

it("tells transfers of a job that is over that it needs nothing more, and ends it also where that fails", async () => {
  const abandoned: Token[] = [];
  await using scene = await play({
    transfers: [listener(abandoned)],
    prepare: (...into) => fillWithRunning(["j1"], ...into),
  });
  const { hub, rig } = scene;
  hub.epochs.set("j1", 1);
  hub.applyFrom("j1", 1, 5);
  await scene.until("it is followed", () => hub.called.length > 0);
  expect(abandoned).toEqual([]);
  const [token] = rig.launcher.running;
  if (token === undefined) throw new Error("nothing runs");
  rig.launcher.end(token);
  await scene.until("the end is told", () => hub.states("j1").includes("JOB_FINISHED"));
  await scene.until("it is abandoned", () => abandoned.length > 0);
  expect(abandoned).toHaveLength(1);
});
