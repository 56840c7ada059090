import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/common/fault.ts";
import { attemptVariables, basicVariables } from "../../../src/jobs/environment.ts";
import {
  maxStringBytes,
  maxTotalBytes,
  planAttempt,
  planCommand,
  type PlanInput,
} from "../../../src/launchers/command.ts";
import type { JsonValue } from "../../../src/common/json.ts";
import { resolveParameters } from "../../../src/jobs/parameters.ts";
import { fuzz, fuzzing } from "../../helpers/fuzz.ts";
import { appOf } from "../jobs/builders.ts";
import { jobToken, planInputOf, token } from "./builders.ts";

const readqc = appOf(
  {
    workflow: "readqc-1.0.0",
    parameters: {
      threads: { type: "integer", default: 4 },
      sample: { type: "string" },
      key: { type: "secret", file: "k" },
    },
    inputs: { reads: { from: "{{config.url}}", to: "sub/reads.fq" } },
    outputs: { report: { from: "out/report.json" } },
    command: [
      "readqc.sh",
      "--threads",
      "{{threads}}",
      "--name={{sample}}",
      "{{inputs.reads}}",
      "{{outputs.report}}",
      "{{key}}",
    ],
    environment: { SAMPLE: "{{sample}}", LD_LIBRARY_PATH: "/opt/readqc/lib" },
    resources: { ranks_per_node: 2, threads_per_rank: 4, memory: "8GiB", walltime: "2h", gpus: 1 },
    umask: "027",
    grace: "5s",
    max_output: "1MiB",
  },
  "readqc",
);

function inputOf(change: Partial<PlanInput> = {}): PlanInput {
  return planInputOf({ app: readqc, values: { threads: 4, sample: "s1" }, ...change });
}

describe("planAttempt", () => {
  it("fills argv one to one and takes limits from the app", () => {
    expect(planAttempt(inputOf())).toMatchObject({
      token,
      attempt: 2,
      directory: `/w/${jobToken}/attempts/2`,
      workDirectory: `/w/${jobToken}/work`,
      argv: [
        "readqc.sh",
        "--threads",
        "4",
        "--name=s1",
        `/w/${jobToken}/in/sub/reads.fq`,
        `/w/${jobToken}/work/out/report.json`,
        `/w/${jobToken}/secrets/key`,
      ],
      runtime: "plain",
      umask: 0o027,
      limitMs: 7_200_000,
      graceMs: 5_000,
      maxOutputBytes: 2 ** 20,
    });
  });

  it("builds the environment from nothing", () => {
    const inherited = {
      SECRET_TOKEN: "x",
      NODE_OPTIONS: "--inspect",
      SSH_AUTH_SOCK: "/x",
      LD_PRELOAD: "/x.so",
      SITEAGENT_FAILPOINTS: "x",
      MODULEPATH: "/modules",
      CUDA_VISIBLE_DEVICES: "0,1,2,3",
      HIP_VISIBLE_DEVICES: "0",
      http_proxy: "http://user:password@proxy.example.org",
      https_proxy: "http://proxy.example.org",
    };
    const names = Object.keys(inherited).filter((name) => name !== "SECRET_TOKEN");
    const { environment } = planAttempt(
      inputOf({
        inherited,
        gpus: { vendor: "nvidia", ids: ["1"] },
        settings: { path: "/usr/bin:/bin", environment: names },
      }),
    );
    const own = [
      "SAMPLE",
      "LD_LIBRARY_PATH",
      "LOGNAME",
      "MODULEPATH",
      "https_proxy",
      "CUDA_VISIBLE_DEVICES",
      "CUDA_DEVICE_ORDER",
    ];
    expect(Object.keys(environment).toSorted()).toEqual(
      [...Object.keys(basicVariables), ...Object.keys(attemptVariables), ...own].toSorted(),
    );
    expect(environment).toMatchObject({
      PATH: "/usr/bin:/bin",
      HOME: "/home/svc",
      USER: "svc",
      LANG: "C.UTF-8",
      TZ: "UTC",
      TMPDIR: `/w/${jobToken}/tmp`,
      OMP_NUM_THREADS: "4",
      CUDA_VISIBLE_DEVICES: "1",
      SITEAGENT_GPU_IDS: "1",
      SAMPLE: "s1",
      SITEAGENT_ATTEMPT: "2",
      SITEAGENT_ATTEMPT_TOKEN: token,
      SITEAGENT_JOB_TOKEN: jobToken,
      SITEAGENT_CORES: "8",
      SITEAGENT_MEMORY_BYTES: String(8 * 2 ** 30),
      SITEAGENT_WALLTIME_S: "7200",
    });
  });

  it("names every missing value", () => {
    const plan = (): unknown => planAttempt(inputOf({ values: {} }));
    expect(plan).toThrow(Fault);
    expect(plan).toThrow(
      /app 'readqc' .*command\[2\]: 'threads' has no value.*command\[3\]: 'sample'.*environment\.SAMPLE: 'sample'/,
    );
  });

  it("refuses with sizes what Linux would not start", () => {
    const long = "x".repeat(maxStringBytes);
    expect(() => planAttempt(inputOf({ values: { threads: 4, sample: long } }))).toThrow(
      new RegExp(
        `command\\[3\\] has '${maxStringBytes + "--name=".length + 1}' bytes; allowed: at most ${maxStringBytes}`,
      ),
    );
    const many = Array.from({ length: 4000 }, () => "y".repeat(600));
    expect(() => planCommand(inputOf(), ["tool", ...many])).toThrow(
      new RegExp(`have '\\d+' bytes together; allowed: at most ${maxTotalBytes}`),
    );
  });

  it(
    "G3: no value of a job becomes an option, a second argument or a line end, in arguments and environment",
    fuzzing,
    () => {
      const app = appOf({
        parameters: {
          text: { type: "string" },
          free: { type: "string", allow_leading_dash: true },
          n: { type: "number" },
        },
        command: ["tool", "{{text}}", "{{free}}", "{{n}}", "--text={{text}}"],
        environment: { TEXT: "{{text}}" },
      });
      const odd = fc.oneof(
        fc.constantFrom(
          "-rf",
          "--help",
          "a\nb",
          "a\0b",
          "a b",
          "'; rm -rf /",
          "$(id)",
          "`id`",
          "\u2028",
          "\u0085",
          "a\r",
          "",
          "*",
          "{{text}}",
        ),
        fc.string({ unit: "binary", maxLength: 8 }),
        fc.jsonValue({ maxDepth: 1 }),
      );
      let passed = 0;
      fc.assert(
        fc.property(odd, odd, fc.oneof(odd, fc.integer(), fc.double()), (text, free, n) => {
          const resolved = resolveParameters(app, { config: { text, free, n } as JsonValue });
          if (!resolved.ok) return;
          passed++;
          const { argv, environment } = planAttempt(inputOf({ app, values: resolved.values }));
          expect(argv).toEqual([
            "tool",
            text,
            free,
            String(resolved.values["n"]),
            `--text=${String(resolved.values["text"])}`,
          ]);
          expect(argv[1]).not.toMatch(/^-/);
          expect(argv[3]).not.toMatch(/^-/);
          expect([...argv, environment["TEXT"]].join("")).not.toMatch(/\p{Cc}/u);
        }),
        fuzz(300),
      );
      expect(passed).toBeGreaterThan(0);
    },
  );

  it("G3, BAL-20: gives one element for each element, whatever the values", () => {
    const value = fc.string({ unit: "binary" });
    fc.assert(
      fc.property(value, (sample) => {
        try {
          const { argv } = planAttempt(inputOf({ values: { threads: 1, sample } }));
          expect(argv).toHaveLength(readqc.command.length);
          expect(argv[3]).toBe(`--name=${sample}`);
        } catch (error) {
          expect(error).toBeInstanceOf(Fault);
          expect(sample).toMatch(/\p{Cc}|\p{Cs}/u);
        }
      }),
    );
  });
});
