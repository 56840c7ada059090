import { assert, boolean, integer, option, property, record } from "fast-check";
import { describe, expect, it } from "vitest";
import type { Resources } from "../../../../src/jobs/app.ts";
import { resourceOptions, slurmTime } from "../../../../src/schedulers/slurm/directives.ts";
import { renderSlurm } from "../../../../src/schedulers/slurm/render.ts";
import type { Placement, SubmitRequest } from "../../../../src/schedulers/types.ts";
import { fuzz, fuzzing } from "../../../helpers/fuzz.ts";
import { token } from "../../../helpers/slurm-answers.ts";

const resources: Resources = { nodes: 1, ranks_per_node: 1, threads_per_rank: 1, gpus: 0 };
const request: SubmitRequest = {
  token,
  tasks: 1,
  resources,
  walltimeS: 3_600,
  placement: { native: [] },
  directory: "/scratch/svc/work",
  log: "/scratch/svc/log",
  body: "sh run.sh\n",
};

function rendered(placement: Partial<Placement>, more: Partial<SubmitRequest> = {}): string {
  return renderSlurm({ ...request, ...more, placement: { native: [], ...placement } });
}

describe("the script of a Slurm job", () => {
  it("is this for a small job", () => {
    expect(renderSlurm(request)).toMatchInlineSnapshot(`
      "#!/bin/sh
      #SBATCH --nodes=1
      #SBATCH --ntasks=1
      #SBATCH --ntasks-per-node=1
      #SBATCH --cpus-per-task=1
      #SBATCH --time=0-01:00:00
      #SBATCH --job-name=abcdefghijklmn0
      #SBATCH --comment=abcdefghijklmn0
      #SBATCH --chdir=/scratch/svc/work
      #SBATCH --output=/scratch/svc/log
      #SBATCH --open-mode=append
      #SBATCH --no-requeue
      #SBATCH --mail-type=NONE

      SITEAGENT_TASK=\${SLURM_ARRAY_TASK_ID:-0}
      SITEAGENT_NATIVE_ID=\${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}
      SITEAGENT_RESTARTS=\${SLURM_RESTART_COUNT:-0}
      unset SLURM_EXPORT_ENV SLURM_JWT LC_ALL TZ
      cd /scratch/svc/work || exit 1

      sh run.sh
      "
    `);
  });

  it("is this for an array with everything that can be said", () => {
    const everything = rendered(
      {
        queue: "cpu,long",
        account: "m1234",
        qos: "high prio",
        constraint: "[a*2&b]|c#d",
        reservation: "maint'1",
        licenses: "matlab@db:2",
        exclusive: true,
        native: ["--nice=100", "--gres=gpu:a100:2", "-x", "n[1-3]"],
      },
      {
        tasks: 20,
        resources: { nodes: 4, ranks_per_node: 6, threads_per_rank: 2, cores: 32, gpus: 2, memory: 8 * 2 ** 30 + 1 },
        walltimeS: 93_784,
        directory: "/scratch/a b/50%",
        log: "/scratch/a b/50%/log",
      },
    );
    expect(everything).toMatchInlineSnapshot(`
      "#!/bin/sh
      #SBATCH --nice=100
      #SBATCH --gres=gpu:a100:2
      #SBATCH -x n[1-3]
      #SBATCH --partition=cpu,long
      #SBATCH --account=m1234
      #SBATCH --qos="high prio"
      #SBATCH --constraint="[a*2&b]|c#d"
      #SBATCH --reservation="maint'1"
      #SBATCH --licenses=matlab@db:2
      #SBATCH --exclusive
      #SBATCH --nodes=4
      #SBATCH --ntasks=24
      #SBATCH --ntasks-per-node=6
      #SBATCH --cpus-per-task=6
      #SBATCH --gpus-per-node=2
      #SBATCH --mem=8193M
      #SBATCH --time=1-02:04:00
      #SBATCH --job-name=abcdefghijklmn0
      #SBATCH --comment=abcdefghijklmn0
      #SBATCH --chdir="/scratch/a b/50%"
      #SBATCH --output="/scratch/a b/50%%/log"
      #SBATCH --open-mode=append
      #SBATCH --no-requeue
      #SBATCH --mail-type=NONE
      #SBATCH --array=0-19

      SITEAGENT_TASK=\${SLURM_ARRAY_TASK_ID:-0}
      SITEAGENT_NATIVE_ID=\${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}
      SITEAGENT_RESTARTS=\${SLURM_RESTART_COUNT:-0}
      unset SLURM_EXPORT_ENV SLURM_JWT LC_ALL TZ
      cd '/scratch/a b/50%' || exit 1

      sh run.sh
      "
    `);
  });

  it("asks for all memory of nodes that it has to itself, and never by mistake", () => {
    expect(rendered({ exclusive: true })).toContain("--mem=0\n");
    expect(rendered({ exclusive: true }, { resources: { ...resources, memory: 1 } })).toContain("--mem=1M\n");
    expect(rendered({}, { resources: { ...resources, memory: 0 } })).toContain("--mem=1M\n");
    expect(rendered({})).not.toContain("--mem");
  });

  it("leaves the time limit to the scheduler when none is asked for", () => {
    expect(rendered({}, { walltimeS: undefined })).not.toContain("--time");
  });

  it.each([
    [{ project: "p" }, "account"],
    [{ parallelEnvironment: "mpi" }, "parallel environment"],
    [{ account: "" }, "the account is empty"],
    [{ qos: "a\nb" }, "control character"],
    [{ native: ["--wrap=true"] }, "'--wrap=true'"],
    [{ native: ["--test-only"] }, "'--test-only'"],
    [{ native: ["--wait"] }, "'--wait'"],
    [{ native: ["-W"] }, "'-W'"],
    [{ native: ["--array=0-3"] }, "'--array=0-3'"],
    [{ native: ["-a0-3"] }, "'-a0-3'"],
    [{ native: ["-M", "other"] }, "'-M'"],
    [{ native: ["--clusters=other"] }, "'--clusters=other'"],
    [{ native: ["--nice=1\n--uid=0"] }, "control character"],
  ] as const)("refuses %j", (placement, word) => {
    expect(() => rendered(placement)).toThrow(word);
  });

  it("refuses all that is wrong at once", () => {
    const placement = { project: "p", account: "", native: ["--wrap=true", "-W"] };
    expect(() => rendered(placement, { log: "/a\\b" })).toThrow(
      /'--wrap=true' cannot.*'-W' cannot.*no project.*the account is empty.*backslash/,
    );
  });

  it("lets the administrator's options be, but not in the place of what it needs itself", () => {
    const lines = rendered({ native: ["--job-name=mine", "--requeue", "--account=a", "-v"] }).split("\n");
    const place = (start: string): number => lines.findLastIndex((line) => line.startsWith(`#SBATCH ${start}`));
    expect(place("--job-name=")).toBeGreaterThan(place("--job-name=mine"));
    expect(place("--no-requeue")).toBeGreaterThan(place("--requeue"));
  });

  it("has no log whose name Slurm would change", () => {
    expect(() => rendered({}, { log: "/a\\b" })).toThrow("backslash");
    expect(rendered({}, { log: "/a/%j" })).toContain("--output=/a/%%j\n");
  });
});

describe("resources", () => {
  const anyResources = record({
    nodes: integer({ min: 1, max: 10_000 }),
    ranks_per_node: integer({ min: 1, max: 512 }),
    threads_per_rank: integer({ min: 1, max: 512 }),
    cores: option(integer({ min: 1, max: 1_024 }), { nil: undefined }),
    gpus: integer({ min: 0, max: 16 }),
    memory: option(integer({ min: 0, max: 2 ** 42 }), { nil: undefined }),
  });

  it("never ask for less than is needed, nor for a unit more", fuzzing, () => {
    assert(
      property(anyResources, integer({ min: 1, max: 10_000_000 }), boolean(), (wanted, walltimeS, exclusive) => {
        const options = resourceOptions(wanted, walltimeS, exclusive);
        const value = (name: string): string | undefined =>
          options.find((text) => text.startsWith(`--${name}=`))?.slice(name.length + 3);
        expect(Number(value("nodes"))).toBe(wanted.nodes);
        const perNode = Number(value("ntasks-per-node"));
        expect(Number(value("ntasks"))).toBe(wanted.nodes * perNode);
        const cores = perNode * Number(value("cpus-per-task"));
        const needed = Math.max(wanted.cores ?? 0, wanted.ranks_per_node * wanted.threads_per_rank);
        expect(cores).toBeGreaterThanOrEqual(needed);
        expect(cores).toBeLessThan(needed + wanted.ranks_per_node);
        expect(value("gpus-per-node")).toBe(wanted.gpus === 0 ? undefined : String(wanted.gpus));
        const memory = value("mem");
        if (wanted.memory === undefined) expect(memory).toBe(exclusive ? "0" : undefined);
        else {
          expect(memory).toMatch(/^[1-9]\d*M$/);
          const bytes = Number.parseInt(memory ?? "", 10) * 2 ** 20;
          expect(bytes).toBeGreaterThanOrEqual(wanted.memory);
          expect(bytes - wanted.memory).toBeLessThanOrEqual(2 ** 20);
        }
      }),
      fuzz(500),
    );
  });

  it("take whole minutes, rounded up", fuzzing, () => {
    expect(slurmTime(1)).toBe("0-00:01:00");
    expect(slurmTime(60)).toBe("0-00:01:00");
    expect(slurmTime(61)).toBe("0-00:02:00");
    expect(slurmTime(86_400)).toBe("1-00:00:00");
    assert(
      property(integer({ min: 1, max: 100_000_000 }), (seconds) => {
        const [, days, hours, minutes] = /^(\d+)-(\d\d):([0-5]\d):00$/.exec(slurmTime(seconds)) ?? [];
        expect(Number(hours)).toBeLessThan(24);
        const total = ((Number(days) * 24 + Number(hours)) * 60 + Number(minutes)) * 60;
        expect(total).toBeGreaterThanOrEqual(seconds);
        expect(total - seconds).toBeLessThan(60);
      }),
      fuzz(500),
    );
  });
});
