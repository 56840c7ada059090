/** MPI programs with real starters: as many ranks as asked for, each with its own number, arguments untouched, none left after a stop. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { MpiSpec } from "../../../src/jobs/mpi.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { isAlive } from "../../helpers/processes.ts";
import { waitFor } from "../../helpers/wait.ts";
import { launchOne, readOut, stopped, untilState } from "./attempts.ts";
import { localHarness } from "./local-harness.ts";
import { planApp } from "./planned.ts";

failOnLeakedProcesses();

/** Open MPI refuses root and more ranks than cores unless it is told that both are meant. */
const openMpi = {
  mpi: {
    starter: "mpiexec-openmpi",
    program: "mpiexec.openmpi",
    options: ["--oversubscribe"],
  } satisfies Partial<MpiSpec>,
  environment: { OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1" },
  rank: "OMPI_COMM_WORLD_RANK",
  size: "OMPI_COMM_WORLD_SIZE",
};
const mpich = {
  mpi: { starter: "mpiexec-hydra", program: "mpiexec.hydra" } satisfies Partial<MpiSpec>,
  environment: {},
  rank: "PMI_RANK",
  size: "PMI_SIZE",
};

function ranksOf({ mpi, environment, rank, size }: typeof openMpi | typeof mpich): void {
  const resources = { ranks_per_node: 2 };

  it("starts each rank once, with the arguments of the app as they are", { timeout: 60_000 }, async () => {
    await using harness = await localHarness();
    const odd = ["--help", "-np", "7", "*", "$(id)", "a b", "\\", "'\"", "", "--", "--{{text}}"];
    const show = `{ printf '%s of %s' "$${rank}" "$${size}"; printf ' <%s>' "$@"; } >"rank-$${rank}"`;
    const plan = await planApp(
      harness.root,
      {
        mpi,
        environment,
        resources,
        parameters: { text: { type: "string" } },
        command: ["sh", "-c", show, "sh", ...odd],
      },
      { values: { text: "; exit 3" } },
    );
    const ref = await launchOne(harness.launcher, plan);
    const { end } = await untilState(harness.launcher, ref, "ended", 60_000);
    expect(end, await readOut(plan, "err")).toMatchObject({ cause: "exit", exit_code: 0 });
    const words = [...odd.slice(0, -1), "--; exit 3"].map((word) => `<${word}>`).join(" ");
    for (const number of [0, 1]) {
      expect(await readFile(join(plan.workDirectory, `rank-${number}`), "utf8")).toBe(`${number} of 2 ${words}`);
    }
  });

  it("fails when one rank fails", { timeout: 60_000 }, async () => {
    await using harness = await localHarness();
    const plan = await planApp(harness.root, {
      mpi,
      environment,
      resources,
      command: ["sh", "-c", `exit $((7 * ${rank}))`],
    });
    const ref = await launchOne(harness.launcher, plan);
    const { end } = await untilState(harness.launcher, ref, "ended", 60_000);
    expect(end).toMatchObject({ cause: "exit", exit_code: 7 });
  });

  it("leaves no rank behind when it is stopped", { timeout: 60_000 }, async () => {
    await using harness = await localHarness();
    const command = ["sh", "-c", `trap '' TERM; echo $$ >"pid-$${rank}"; while :; do sleep 1; done`];
    const plan = await planApp(harness.root, { mpi, environment, resources, command });
    const ref = await launchOne(harness.launcher, plan);
    const pids = await Promise.all(
      [0, 1].map((number) =>
        waitFor(
          async () =>
            Number(await readFile(join(plan.workDirectory, `pid-${number}`), "utf8").catch(() => "")) || undefined,
          {
            what: `the pid of rank ${number}`,
            timeoutMs: 30_000,
          },
        ),
      ),
    );
    expect(await stopped(harness.launcher, ref)).toMatchObject({ state: "gone" });
    expect(pids.filter(isAlive)).toEqual([]);
  });
}

describe("MPI programs on one machine", () => {
  describeWithEngine("openmpi", "with Open MPI", () => ranksOf(openMpi));
  describeWithEngine("mpich", "with MPICH", () => ranksOf(mpich));
});
