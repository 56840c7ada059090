import { readFile, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { planJob } from "../../src/plan-job.ts";
import { temporaryDirectory, type TemporaryDirectory } from "../helpers/temporary.ts";
import { head, writeSecret } from "./config/files.ts";

let directory: TemporaryDirectory;

beforeEach(async () => {
  directory = await temporaryDirectory();
  await writeSecret(directory);
  await writeFile(
    directory.join("site.yaml"),
    `${head}policy: {sources: [https://data.example.org/], destinations: [https://out.example.org/in/]}
apps:
  a:
    workflow: w-1
    target: local
    parameters: {sample: {type: string}, threads: {type: integer, maximum: 4, default: 1}}
    inputs: {reads: {from: "{{config.url}}", to: reads}}
    command: [/bin/true, "{{sample}}", "{{threads}}"]
    outputs: {r: {from: r, to: "https://out.example.org/in/{{sample}}/r"}}
`,
  );
});

afterEach(() => directory[Symbol.asyncDispose]());

test("names every value that would be refused, and none that is right", async () => {
  const job = { workflow: "w-1", config: { sample: "s1" }, parameters: { threads: 9 } };
  const { refused } = await planJob(directory.join("site.yaml"), job);
  expect(refused).toEqual([
    "parameters.threads: '9' is out of range; allowed: a whole number from 0 to 4",
    "inputs.reads.from: the job's config has no text or number at 'config.url', which '{{config.url}}' needs",
  ]);
});

test("says what the policy allows", async () => {
  const job = { workflow: "w-1", config: { sample: "s1", url: "https://elsewhere.example.org/x" } };
  const plan = await planJob(directory.join("site.yaml"), job);
  expect(plan.inputs).toMatchObject([{ name: "reads", allowed: false }]);
  expect(plan.outputs).toMatchObject([{ url: "https://out.example.org/in/s1/r", allowed: true }]);
  expect(plan.refused).toHaveLength(1);
});

test("shows the script that a batch scheduler would get", async () => {
  const file = directory.join("site.yaml");
  const text = (await readFile(file, "utf8")).replace(
    "apps:",
    `hosts: {here: {workdir: /scratch/w}}
targets:
  local: {host: here, launcher: batch, scheduler: slurm, partition: cpu, account: m1, preamble: [module load samtools]}
apps:`,
  );
  await writeFile(file, text, { mode: 0o600 });
  const job = { workflow: "w-1", config: { sample: "s1", url: "https://data.example.org/x" } };
  const { script, launcher } = await planJob(file, job);
  expect(launcher).toBe("batch");
  expect(script?.split("\n").slice(0, 2).join("\n")).toMatch(/^#!\/bin\/sh\n#SBATCH /);
  expect(script).toContain("#SBATCH --partition=cpu\n");
  expect(script).toContain("#SBATCH --account=m1\n");
  expect(script).toMatch(
    /\nmodule load samtools\nexec \/bin\/sh '\/scratch\/w\/\.siteagent\/recorder\/[0-9a-f]{16}\/recorder\.sh' "\$directory"\n/,
  );
});
