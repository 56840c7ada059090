import { expect, it } from "vitest";
import type { Token } from "../../../src/common/token.ts";
import type { AttemptPlan } from "../../../src/launchers/types.ts";
import type { SimulatedLauncher } from "../../helpers/simulated-launcher.ts";
import { play } from "./scene.ts";

const target = { host: "here", launcher: "local", slots: 6 };
/** Two targets that name GPUs of one machine, not the same ones. */
const targets = { wide: { ...target, gpus: [0, 1, 2, "GPU-x"] }, narrow: { ...target, gpus: [1, 2] } };
const apps = {
  one: { target: "wide", resources: { gpus: 1 } },
  two: { target: "wide", resources: { gpus: 2 } },
  near: { target: "narrow", resources: { gpus: 1 } },
  none: { target: "wide" },
};
const names = ["one", "two", "near", "none"] as const;

interface Watched {
  readonly plans: Map<Token, AttemptPlan>;
  /** GPUs that two attempts had at the same time. */
  readonly shared: string[];
  readonly running: () => readonly AttemptPlan[];
}

/** Looks at each start whether a GPU is given out that a running attempt has. */
function watchStarts(launcher: SimulatedLauncher, watched: Watched): void {
  const launch = launcher.launch.bind(launcher);
  launcher.launch = async (plans) => {
    for (const plan of plans) {
      for (const other of watched.running()) {
        watched.shared.push(...(plan.gpus ?? []).filter((id) => other.gpus?.includes(id)));
      }
      watched.plans.set(plan.token, plan);
    }
    return await launch(plans);
  };
}

it("never gives a GPU to two attempts that run, on two targets of a machine and over restarts of the agent", async () => {
  let launcher: SimulatedLauncher | undefined;
  const plans = new Map<Token, AttemptPlan>();
  const running = (): readonly AttemptPlan[] => (launcher?.running ?? []).flatMap((token) => plans.get(token) ?? []);
  const watched: Watched = { plans, shared: [], running };
  await using scene = await play({
    apps,
    targets,
    prepare: async (_directory, made) => {
      launcher = made;
      watchStarts(made, watched);
    },
  });
  const { hub, rig } = scene;
  const ids = Array.from({ length: 24 }, (_, index) => `j${index}`);
  const rest = ids.map((id, index) => [id, names[index % names.length] ?? "one"] as const);
  const given = new Map<string, string>();
  const give = (id: string, workflow: string): void => {
    given.set(id, workflow);
    hub.give(id, 1, { workflow });
  };
  /** The answer that an agent was given while it stopped is lost: its jobs are assigned again. */
  const giveAgain = async (): Promise<void> => {
    const held = new Set((await rig.status()).jobs.map(({ id }) => id));
    for (const [id, workflow] of given) if (!held.has(id)) give(id, workflow);
  };
  const done = (): number => ids.filter((id) => hub.states(id).includes("JOB_FINISHED")).length;
  let most = 0;
  for (let round = 0; done() < ids.length; round++) {
    for (const [id, workflow] of rest.splice(0, 6)) give(id, workflow);
    await scene.until("something runs, or all is over", () => running().length > 0 || done() === ids.length);
    most = Math.max(most, running().flatMap((plan) => plan.gpus ?? []).length);
    if (round % 3 === 1) {
      await rig.restart();
      await giveAgain();
    }
    const [first, ...others] = rig.launcher.running;
    for (const token of [first, others.at(-1)]) if (token) rig.launcher.end(token);
    await scene.pass(500);
  }
  expect(watched.shared).toEqual([]);
  expect(rig.launcher.starts.every((starts) => starts === 1)).toBe(true);
  // They were packed, not one after the other.
  expect(most).toBeGreaterThanOrEqual(3);
  for (const { gpus, environment, resources } of plans.values()) {
    expect(gpus).toHaveLength(resources.gpus);
    expect(environment["CUDA_VISIBLE_DEVICES"]).toBe(gpus?.join(","));
    expect(environment["SITEAGENT_GPU_IDS"]).toBe(gpus?.join(","));
  }
});

it("keeps a GPU for an attempt of which nobody can tell whether it lives", async () => {
  await using scene = await play({
    apps: { one: { target: "local", resources: { gpus: 1 } } },
    targets: { local: { ...target, gpus: 1 } },
  });
  const { hub, rig } = scene;
  hub.give("j1", 1, { workflow: "one" });
  await scene.until("it runs", () => rig.launcher.running.length === 1);
  rig.launcher.statuses = async (refs) => refs.map(() => ({ state: "unknown", why: "unreachable" }));
  hub.give("j2", 1, { workflow: "one" });
  await scene.until("the other waits", async () => /in use/.test((await rig.job("j2"))?.waiting ?? ""));
  await rig.restart();
  await scene.pass(60_000);
  expect(rig.launcher.attempts.size).toBe(1);
});
