import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { z } from "zod";
import { appSchema } from "../../../src/jobs/app.ts";
import { directoriesOf, planAttempt, planCommand, type PlanInput } from "../../../src/launchers/command.ts";
import type { AttemptPlan } from "../../../src/launchers/types.ts";
import { fuzz, fuzzing } from "../../helpers/fuzz.ts";
import { appOf } from "../jobs/builders.ts";
import { jobToken, planInputOf, token } from "./builders.ts";

type AppInput = Partial<z.input<typeof appSchema>>;
type RuntimeInput = Exclude<AppInput["runtime"], string | undefined>;

const image = `registry.example.org/bio/qc@sha256:${"ab".repeat(32)}`;
const apptainer: RuntimeInput = { apptainer: { image: "/opt/images/qc.sif" } };
const podman: RuntimeInput = { podman: { image } };
const docker: RuntimeInput = { docker: { image } };
const engines = { apptainer, podman, docker };
const names = ["apptainer", "podman", "docker"] as const;
const command = ["qc", "--in", "{{x}}"];
const parameters = { x: { type: "string", allow_leading_dash: true } } as const;
const root = { name: "root", home: "/root", uid: 0, gid: 0, groups: [0] };

function planOf(app: AppInput, change: Partial<PlanInput> = {}): AttemptPlan {
  return planAttempt(planInputOf({ app: appOf({ command, parameters, ...app }), values: { x: "a b" }, ...change }));
}

/** Short enough to read: what is the same in every line is cut. */
function lineOf({ argv }: AttemptPlan): string {
  const words = argv.filter((word) => !/^--env=(?:SITEAGENT_\w+|LANG|LOGNAME|USER|TZ)$/.test(word));
  return words
    .map((word) => (/\s/.test(word) ? `'${word.slice(0, 20)}'` : word.replaceAll(`/w/${jobToken}`, "JOB")))
    .join("\n");
}

describe("a command in a container", () => {
  it.each(names)("of %s sees the job's directories at their own paths, and nothing else of the host", (engine) => {
    expect(lineOf(planOf({ runtime: engines[engine] }))).toMatchSnapshot();
  });

  it.each(names)("of %s with mounts, secrets, GPUs, variables, no network and options of the site", (engine) => {
    const more = {
      mounts: [{ path: "/data/ref" }, { path: "/scratch", at: "/big", write: true }],
      network: "none",
      entrypoint: true,
      options: ["--shm-size=1g"],
      program: "/opt/bin/engine",
    } as const;
    const [[key, spec] = ["", {}]] = Object.entries(engines[engine]);
    const app = {
      runtime: { [key]: { ...spec, ...more, mounts: [...more.mounts], options: [...more.options] } } as RuntimeInput,
      parameters: { ...parameters, key: { type: "secret", file: "k" } as const },
      environment: { MARK: "{{x}}", LD_LIBRARY_PATH: "/opt/lib", PATH: "/opt/qc/bin:/bin" },
      resources: { cores: 4, memory: "2GiB", gpus: 2 },
    };
    const plan = planOf(app, { gpus: { vendor: "nvidia", ids: ["1", "3"] } });
    expect(lineOf(plan)).toMatchSnapshot();
    const { SITEAGENT_ATTEMPT_TOKEN, MARK, PATH, HOME, LD_LIBRARY_PATH } = plan.environment;
    // What the engine's own program sees: the site's PATH, our home, no library of the container's.
    expect({ SITEAGENT_ATTEMPT_TOKEN, MARK, PATH, HOME, LD_LIBRARY_PATH }).toEqual({
      SITEAGENT_ATTEMPT_TOKEN: token,
      MARK: "a b",
      PATH: "/usr/bin:/bin",
      HOME: "/home/svc",
    });
  });

  it("of Apptainer gets the app's own variables by a prefix that the image cannot override, and never as shell text", () => {
    const environment = { MARK: "$(id)", LD_LIBRARY_PATH: "/opt/lib" };
    const plan = planOf({ runtime: apptainer, environment });
    expect(plan.environment).toMatchObject({ APPTAINERENV_MARK: "$(id)", APPTAINERENV_LD_LIBRARY_PATH: "/opt/lib" });
    expect(plan.argv).toContain("--no-eval");
    const old = planOf({ runtime: { apptainer: { image: "/x.sif", program: "/usr/bin/singularity" } }, environment });
    expect(old.environment).toMatchObject({ SINGULARITYENV_MARK: "$(id)" });
  });

  it("runs as us: mapped by rootless Podman, as root where we are root or the image wants it", () => {
    const user = (runtime: RuntimeInput, change: Partial<PlanInput> = {}): readonly string[] =>
      planOf({ runtime }, change).argv.filter((word) => /^--(?:user|userns|group-add)/.test(word));
    expect(user(podman)).toEqual(["--user=1001:1001", "--userns=keep-id", "--group-add=keep-groups"]);
    expect(user({ podman: { image, user: "root" } })).toEqual(["--user=0:0", "--group-add=keep-groups"]);
    expect(user(podman, { account: root })).toEqual(["--user=0:0"]);
    expect(user(docker)).toEqual(["--user=1001:1001", "--group-add=50"]);
  });

  it("shows GPUs by the vendor's own means, a scheduler's mask as it is", () => {
    const app = { resources: { gpus: 2 } };
    const gpus = (runtime: RuntimeInput, change: Partial<PlanInput>): readonly string[] =>
      planOf({ ...app, runtime }, change).argv.filter((word) =>
        /^--nv$|rocm|gpu|\/kfd|\/dri|VISIBLE|AFFINITY/.test(word),
      );
    const given = { gpus: { vendor: "nvidia", ids: ["1", "3"] } } as const;
    expect(gpus(apptainer, given)).toEqual(["--nv"]);
    // Inside are only its own, counted from 0: a mask would name others.
    expect(gpus(podman, given)).toEqual(["--device=nvidia.com/gpu=1", "--device=nvidia.com/gpu=3"]);
    expect(gpus(docker, given)).toEqual(['--gpus="device=1,3"']);
    const scheduled = { allocation: true } as const;
    expect(gpus(podman, scheduled)).toEqual([
      "--device=nvidia.com/gpu=all",
      ...["CUDA", "HIP", "NVIDIA", "ROCR"].map((vendor) => `--env=${vendor}_VISIBLE_DEVICES`),
      "--env=ZE_AFFINITY_MASK",
    ]);
    const amd = { gpuVendor: "amd", gpus: { vendor: "amd", ids: ["0"] } } as const;
    expect(gpus(docker, amd)).toEqual(["--device=/dev/kfd", "--device=/dev/dri", "--env=ROCR_VISIBLE_DEVICES"]);
    expect(gpus(apptainer, amd)).toEqual(["--rocm"]);
    expect(planOf({ runtime: docker }, { gpus: { vendor: "nvidia", ids: [] } }).argv).toContain(
      "--env=CUDA_VISIBLE_DEVICES",
    );
  });

  it("has ranks started from outside by Apptainer, inside by the others", () => {
    const mpi = { starter: "mpiexec-openmpi" } as const;
    const resources = { ranks_per_node: 2 };
    const outside = planOf({ runtime: apptainer, mpi, resources }).argv;
    expect(outside.slice(0, 9).join(" ")).toBe("mpiexec -n 2 --map-by ppr:2:node --bind-to none apptainer exec");
    const inside = planOf({ runtime: podman, mpi, resources }).argv;
    expect(inside[6]).toBe("podman");
    expect(inside.slice(-11).join(" ")).toBe(
      `--entrypoint=mpiexec ${image} -n 2 --map-by ppr:2:node --bind-to none qc --in a b`,
    );
    expect(() => planOf({ runtime: podman, mpi, resources }, { values: { x: ":" } })).toThrow(/':' alone/);
  });

  it("takes an image that a job chooses only where policy.images allows it", () => {
    const runtime: RuntimeInput = { podman: { image: "registry.example.org/bio/{{x}}" } };
    const images = ["registry.example.org/bio/"];
    expect(planOf({ runtime }, { values: { x: "qc:2" }, images }).argv).toContain("registry.example.org/bio/qc:2");
    for (const x of ["../evil", "x --privileged", "", "a@b"]) {
      expect(() => planOf({ runtime }, { values: { x }, images })).toThrow(/image: .* is not an image/);
    }
    expect(() => planOf({ runtime }, { values: { x: "qc" } })).toThrow(/not allowed by policy\.images/);
    expect(() => planOf({ runtime: podman }, { images: ["registry.example.org/other/"] })).toThrow(/not allowed/);
  });

  it("cannot have a work directory that an engine would read as two", () => {
    const directories = directoriesOf("/w:x", jobToken, 1);
    for (const engine of names) {
      expect(() => planOf({ runtime: engines[engine] }, { directories })).toThrow(/'\/w:x\/.*' holds a colon/);
    }
  });

  it("leaves hooks outside", () => {
    const input = planInputOf({ app: appOf({ command, parameters, runtime: docker }), values: { x: "y" } });
    expect(planCommand(input, ["hook"]).argv).toEqual(["hook"]);
  });

  it("G3: hands arguments on as they are, and writes no value of a variable into one", fuzzing, () => {
    const text = fc.string({ unit: "grapheme", maxLength: 12 }).filter((value) => !/\p{Cc}/u.test(value));
    fc.assert(
      fc.property(fc.constantFrom(...names), text, text, (engine, x, hidden) => {
        const secret = `hidden-${hidden}-value`;
        const change = {
          values: { x, y: secret },
          settings: { path: "/usr/bin:/bin", environment: ["SITE_TOKEN"] },
          inherited: { SITE_TOKEN: `${secret}-2` },
        };
        const both = { ...parameters, y: { type: "string" } as const };
        const app = {
          runtime: engines[engine],
          parameters: both,
          command: ["qc", "{{x}}", "--x={{x}}"],
          environment: { Y: "{{y}}" },
        };
        const { argv, environment } = planOf(app, change);
        expect(argv.slice(-2)).toEqual([x, `--x=${x}`]);
        expect(argv.slice(0, -2).join("\n")).not.toContain(secret);
        expect(environment).toMatchObject({ Y: secret, SITE_TOKEN: `${secret}-2` });
      }),
      fuzz(300),
    );
  });
});

describe("the runtime of an app", () => {
  it.each([
    [{}, /one runtime/],
    [{ podman: { image }, docker: { image } }, /one runtime/],
    [{ podman: { image, options: ["-v", "/:/host"] } }, /one option in one word/],
    [{ podman: { image, options: ["--name=x"] } }, /is set by siteagent/],
    [{ docker: { image, options: ["--pid=host"] } }, /is set by siteagent/],
    [{ docker: { image, mounts: [{ path: "/a/../b" }] } }, /not plain/],
    [{ docker: { image, mounts: [{ path: "/a:b" }] } }, /colon/],
    [{ docker: { image, mounts: [{ path: "data" }] } }, /not absolute/],
  ])("refuses %j", (runtime, message) => {
    const parsed = appSchema.safeParse({ workflow: "w", command: ["x"], target: "t", runtime });
    expect(JSON.stringify(parsed.error?.issues)).toMatch(message);
  });
});
