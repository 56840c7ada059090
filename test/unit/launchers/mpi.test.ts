import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { z } from "zod";
import type { App, appSchema } from "../../../src/jobs/app.ts";
import { mpiShape, type MpiStarter, mpiStarters } from "../../../src/jobs/mpi.ts";
import { coresPerNode } from "../../../src/jobs/resources.ts";
import { planAttempt, planCommand } from "../../../src/launchers/command.ts";
import { fuzz, fuzzing } from "../../helpers/fuzz.ts";
import { appOf } from "../jobs/builders.ts";
import { planInputOf } from "./builders.ts";

type AppInput = Partial<z.input<typeof appSchema>>;

const solver = ["solver", "--in", "x y"];
const twoNodes = { nodes: 2, ranks_per_node: 4, threads_per_rank: 8, gpus: 4 };
const names = Object.keys(mpiStarters) as MpiStarter[];

function lineOf(app: AppInput, allocation = true): string {
  const { argv } = planAttempt(
    planInputOf({ app: appOf({ command: solver, ...app }), allocation, shared: !allocation }),
  );
  return argv.map((word) => (/^[^\s'"]+$/.test(word) ? word : `'${word}'`)).join(" ");
}

function mpiApp(app: AppInput & { readonly command: string[] }): App {
  return appOf({ mpi: { starter: "mpirun" }, ...app });
}

describe("an MPI command in an allocation", () => {
  it.each(names)("with %s says every size, binding and GPUs", (starter) => {
    expect(lineOf({ mpi: { starter }, resources: twoNodes })).toMatchSnapshot();
  });

  it.each(names)("with %s and ranks that share the GPUs of a node, unbound", (starter) => {
    const resources = { nodes: 3, ranks_per_node: 4, threads_per_rank: 1, cores: 10, gpus: 2 };
    expect(lineOf({ mpi: { starter, bind: "none" }, resources })).toMatchSnapshot();
  });

  it.each(names)("with %s on one node without GPUs", (starter) => {
    expect(lineOf({ mpi: { starter }, resources: { ranks_per_node: 2 } })).toMatchSnapshot();
  });

  it("puts the site's program and options before the command", () => {
    const mpi = { starter: "srun", program: "/opt/slurm/bin/srun", options: ["--mpi=pmix", "--label"] } as const;
    expect(lineOf({ mpi: { ...mpi, options: [...mpi.options] } })).toMatch(
      /^\/opt\/slurm\/bin\/srun --nodes=1 .* --export=ALL --mpi=pmix --label solver --in 'x y'$/,
    );
  });

  it("fills the places of a starter of the site's own with sizes", () => {
    const starter = ["ibrun", "-n", "{{ranks}}", "-N={{nodes}}x{{ranks_per_node}}", "{{threads_per_rank}}"];
    const more = ["{{cores_per_rank}}", "{{gpus_per_node}}", "{{{{x}}"];
    const resources = { ...twoNodes, cores: 34 };
    expect(lineOf({ mpi: { starter: [...starter, ...more], options: ["--verbose"] }, resources })).toBe(
      "ibrun -n 8 -N=2x4 8 8 4 {{x}} --verbose solver --in 'x y'",
    );
  });
});

describe("an MPI command beside others", () => {
  it("is not bound to cores: every attempt would be bound to the same ones", () => {
    const resources = { ranks_per_node: 2, threads_per_rank: 2 };
    expect(lineOf({ mpi: { starter: "mpiexec-openmpi" }, resources }, false)).toBe(
      "mpiexec -n 2 --map-by ppr:2:node --bind-to none solver --in 'x y'",
    );
    expect(lineOf({ mpi: { starter: "mpiexec-openmpi", bind: "cores" }, resources }, false)).toBe(
      "mpiexec -n 2 --map-by ppr:2:node:PE=2 --bind-to core solver --in 'x y'",
    );
  });
});

describe("what reaches the ranks", () => {
  it("names variables for other nodes and never writes their values into an argument", () => {
    const app = mpiApp({
      command: solver,
      mpi: { starter: "mpiexec-openmpi" },
      resources: { nodes: 2 },
      environment: { MARK: "hidden-value" },
    });
    const { argv, environment } = planAttempt(planInputOf({ app, allocation: true, shared: false }));
    expect(environment["MARK"]).toBe("hidden-value");
    expect(argv.join("\n")).not.toContain("hidden-value");
    const named = argv.flatMap((word, index) => (argv[index - 1] === "-x" ? [word] : []));
    expect(named).toEqual(Object.keys(environment).toSorted());
  });

  it("leaves hooks without a starter", () => {
    const input = planInputOf({ app: mpiApp({ command: solver }) });
    expect(planCommand(input, ["hook", "x"]).argv).toEqual(["hook", "x"]);
  });

  it("G3: a value cannot end the program and begin another one", () => {
    const app = mpiApp({
      command: ["solver", "{{a}}", "{{b}}"],
      parameters: { a: { type: "string" }, b: { type: "string" } },
    });
    const plan = (): unknown => planAttempt(planInputOf({ app, values: { a: ":", b: "/bin/evil" } }));
    expect(plan).toThrow(/command\[1\]: ':' alone would begin another program for the MPI starter/);
    const alone = appOf({ command: ["tool", "{{a}}"], parameters: { a: { type: "string" } } });
    expect(planAttempt(planInputOf({ app: alone, values: { a: ":" } })).argv).toEqual(["tool", ":"]);
  });

  it("G3: hands on every argument as it is, after the starter's own words", fuzzing, () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.string({ unit: "grapheme" }).filter((text) => !/\p{Cc}/u.test(text) && text !== ":"),
        (starter, value) => {
          const app = mpiApp({
            mpi: { starter },
            command: ["solver", "{{a}}", "--a={{a}}"],
            parameters: { a: { type: "string" } },
          });
          const { argv } = planAttempt(planInputOf({ app, values: { a: value } }));
          expect(argv.slice(-3)).toEqual(["solver", value, `--a=${value}`]);
          expect(argv.slice(0, -3).every((word) => /^[\w.:=-]+$/.test(word))).toBe(true);
        },
      ),
      fuzz(300),
    );
  });

  it("gives the ranks of a node never more cores than it has, nor fewer than their threads", fuzzing, () => {
    const count = fc.integer({ min: 1, max: 64 });
    fc.assert(
      fc.property(count, count, count, fc.nat(200), (nodes, ranks, threads, spare) => {
        const cores = ranks * threads + spare;
        const { resources } = appOf({ resources: { nodes, ranks_per_node: ranks, threads_per_rank: threads, cores } });
        const shape = mpiShape(resources);
        expect(shape.ranks).toBe(nodes * ranks);
        expect(shape.cores_per_rank).toBeGreaterThanOrEqual(threads);
        expect(shape.cores_per_rank * ranks).toBeLessThanOrEqual(coresPerNode(resources));
      }),
      fuzz(300),
    );
  });
});
