/** Attempts in real containers: they see what they may, end when they are told to, and are dead when that is said. */
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LocalHost } from "../../../src/hosts/local/index.ts";
import { withContainerProof } from "../../../src/launchers/container-proof.ts";
import type { AttemptPlan, AttemptRef, Launcher } from "../../../src/launchers/types.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { isAlive, killIfThere, listProcesses } from "../../helpers/processes.ts";
import { waitFor } from "../../helpers/wait.ts";
import { launchOne, readOut, stopped, untilState } from "./attempts.ts";
import { type ContainerPlace, dockerPlace, podmanPlace } from "./container-places.ts";
import { localHarness, type LocalHarness, tiersHere } from "./local-harness.ts";
import { planApp } from "./planned.ts";

failOnLeakedProcesses();

/** The strongest and the weakest way to end processes that this machine has. */
const tiers = await tiersHere();
const here = [...new Set([tiers[0] ?? "group", tiers.at(-1) ?? "group"])];
const stubborn = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.2; done"];
const patience = { timeout: 120_000 };

interface Scene extends LocalHarness {
  /** The launcher as the agent has it. */
  readonly proven: Launcher;
}

async function open(containment: (typeof here)[number]): Promise<Scene> {
  const harness = await localHarness({ containment });
  const host = new LocalHost({ name: "here", workdir: harness.root });
  const rootless = process.getuid?.() !== 0;
  const proven = withContainerProof(harness.launcher, {
    run: (request, context) => host.run(request, context),
    rootless,
  });
  return { ...harness, proven };
}

function refOf({ container, environment }: AttemptPlan, ref: AttemptRef): AttemptRef {
  return { ...ref, container, environment };
}

/** Processes inside: they carry the attempt's token in their environment. */
async function inside(token: string): Promise<readonly number[]> {
  const found: number[] = [];
  for (const { pid, command } of listProcesses()) {
    if (!/^(?:\/run\/podman-init|\/sbin\/docker-init|sh -c trap)/.test(command)) continue;
    const environment = await readFile(`/proc/${pid}/environ`, "latin1").catch(() => "");
    if (environment.includes(token)) found.push(pid);
  }
  return found;
}

function suite(open_: () => Promise<ContainerPlace>): void {
  let place: ContainerPlace;
  beforeAll(async () => {
    place = await open_();
  }, 90_000);
  afterAll(async () => {
    await place[Symbol.asyncDispose]();
  }, 90_000);

  async function started(
    scene: Scene,
    app: Parameters<typeof planApp>[1],
  ): Promise<{ plan: AttemptPlan; ref: AttemptRef }> {
    const plan = await planApp(scene.root, { runtime: place.runtime, ...app }, place.change);
    const ref = refOf(plan, await launchOne(scene.proven, plan));
    return { plan, ref };
  }

  async function ready(plan: AttemptPlan): Promise<readonly number[]> {
    let err = "";
    const runs = async (): Promise<boolean> => {
      err = await readOut(plan, "err");
      return (await readOut(plan)).includes("ready");
    };
    await waitFor(runs, { what: () => `a container that runs; err: ${err}`, timeoutMs: 60_000 });
    return await inside(plan.token);
  }

  async function nothingLeft(pids: readonly number[]): Promise<void> {
    expect(pids.length).toBeGreaterThan(0);
    expect(pids.filter(isAlive)).toEqual([]);
    expect(await place.containers()).toEqual([]);
  }

  it("runs in the job's directories as us, with arguments and variables as they are", patience, async () => {
    await using scene = await open(here[0] ?? "group");
    await writeFile(join(scene.root, "private"), "x");
    const script = [
      'id -u >uid; printf "<%s>" "$@" >arguments; printf %s "$MARK" >mark; pwd >where; echo kept >/tmp/kept',
      'echo "$HOME $TMPDIR $PATH $SITEAGENT_ATTEMPT_TOKEN" >environment',
      'echo x 2>/dev/null >"$SITEAGENT_IN_DIR/new" && echo writable >in',
      `ls ${scene.root}/private 2>/dev/null >seen; exit 9`,
    ];
    const odd = ["--help", "-v", "/:/host", "*", "$(id)", "a b", "", "'\""];
    const { plan, ref } = await started(scene, {
      command: ["sh", "-c", script.join("\n"), "sh", ...odd],
      environment: { MARK: "$(id) 'a' \"b\" {{{{x}}" },
    });
    const { end } = await untilState(scene.proven, ref, "ended", 60_000);
    expect(end, await readOut(plan, "err")).toMatchObject({ cause: "exit", exit_code: 9 });
    const read = (name: string): Promise<string> =>
      readFile(join(plan.workDirectory, name), "utf8").catch(() => "none");
    expect(await read("arguments")).toBe(odd.map((word) => `<${word}>`).join(""));
    expect(await read("mark")).toBe("$(id) 'a' \"b\" {{x}}");
    expect((await read("where")).trim()).toBe(plan.workDirectory);
    const tmp = join(plan.workDirectory, "..", "tmp");
    const [home, temporary, path, token] = (await read("environment")).trim().split(" ");
    expect([home, temporary, token]).toEqual([tmp, tmp, plan.token]);
    expect(path).toBe("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    expect(await readFile(join(tmp, "kept"), "utf8")).toBe("kept\n");
    expect([await read("in"), await read("seen")]).toEqual(["none", ""]);
    expect((await stat(join(plan.workDirectory, "uid"))).uid).toBe(process.getuid?.());
    expect(await place.containers()).toEqual([]);
  });

  describe.each(here)("tier %s", (tier) => {
    it("leaves nothing behind when it is stopped, though it hears no TERM", patience, async () => {
      await using scene = await open(tier);
      const { plan, ref } = await started(scene, { command: stubborn });
      const pids = await ready(plan);
      expect(await stopped(scene.proven, ref)).toMatchObject({ state: "gone" });
      await nothingLeft(pids);
    });

    it("ends by its time limit without agent and runner", patience, async () => {
      await using scene = await open(tier);
      const { plan, ref } = await started(scene, { command: stubborn, grace: "3s", resources: { walltime: "3s" } });
      const pids = await ready(plan);
      await scene.launcher[Symbol.asyncDispose]();
      await scene.killRunner();
      await waitFor(() => pids.every((pid) => !isAlive(pid)), { what: "the end of the container", timeoutMs: 60_000 });
      const later = withContainerProof(scene.reopen(), {
        run: (...call) => new LocalHost({ name: "h", workdir: "/" }).run(...call),
        rootless: false,
      });
      expect((await untilState(later, ref, "ended", 60_000)).end.cause).toBe("timeout");
      await nothingLeft(pids);
    });

    it(
      "is not over when guard, engine's program and all else of ours were killed at once, until it is",
      patience,
      async () => {
        await using scene = await open(tier);
        const { plan, ref } = await started(scene, { command: stubborn });
        const pids = await ready(plan);
        const ours = listProcesses().filter(
          ({ command }) =>
            command.includes(`siteagent-container ${plan.token}`) || command.includes(`--name=${plan.token}`),
        );
        expect(ours.length).toBeGreaterThanOrEqual(2);
        for (const { pid } of ours) killIfThere(pid);
        const ended = await untilState(scene.proven, ref, "ended", 60_000);
        if (ended.remaining.length > 0) await stopped(scene.proven, ref);
        await nothingLeft(pids);
      },
    );

    it("is not over when the engine's program was killed: what runs on is ended first", patience, async () => {
      await using scene = await open(tier);
      const { plan, ref } = await started(scene, { command: stubborn });
      const pids = await ready(plan);
      const clients = listProcesses().filter(
        ({ command }) => / run --rm /.test(command) && command.includes(plan.token),
      );
      expect(clients.length).toBeGreaterThan(0);
      for (const { pid } of clients) killIfThere(pid);
      const ended = await untilState(scene.proven, ref, "ended", 60_000);
      if (ended.remaining.length > 0) await stopped(scene.proven, ref);
      await nothingLeft(pids);
    });
  });
}

describe("attempts in containers", () => {
  describeWithEngine("podman", "of Podman", () => suite(podmanPlace));
  describeWithEngine("dockerd", "of Docker", () => suite(dockerPlace));
});
