/** Lack of memory, for real: the kernel kills in a small control group, both recorders tell. */
import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { newToken } from "../../../src/common/token.ts";
import type { AttemptEnd } from "../../../src/jobs/states.ts";
import { endFromRecord, readEvidence } from "../../../src/runner/evidence.ts";
import { perlPlan, type RecorderPlan, shellPlan } from "../../../src/runner/plan-files.ts";
import { repository } from "../../helpers/cli.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { makeMemoryCgroup } from "../../helpers/engines/memory-cgroup.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

failOnLeakedProcesses();

const scripts = join(repository, "src", "runner");
const forms = [
  { form: "perl", program: "perl", script: join(scripts, "recorder.pl"), file: "plan", write: perlPlan },
  { form: "sh", program: "sh", script: join(scripts, "recorder.sh"), file: "plan.sh", write: shellPlan },
];
/** Keeps what it reads: there is no line end in it. */
const greedy = "tail /dev/zero";
const limitBytes = 48 * 1024 * 1024;

describeWithEngine("memory-cgroup", "an attempt in a group of limited memory", () => {
  describe.each(forms)("recorded in $form", ({ program, script, file, write }) => {
    async function endOf(command: string, alone = true): Promise<AttemptEnd | undefined> {
      await using group = makeMemoryCgroup(limitBytes);
      await using directory = await temporaryDirectory();
      const plan: RecorderPlan = {
        token: newToken(),
        directory: directory.path,
        workDirectory: directory.path,
        argv: ["/bin/sh", "-c", command],
        environment: { PATH: "/usr/bin:/bin" },
        umask: 0o077,
        limitMs: undefined,
        graceMs: 200,
        maxOutputBytes: 0,
        cgroup: group.directory,
        openFiles: 1024,
        oom: { file: group.counter, count: 0, alone },
      };
      await writeFile(directory.join(file), write(plan));
      const run = spawnSync(program, [script, directory.path], { encoding: "utf8", timeout: 60_000 });
      expect(run.stdout).toMatch(/ended\n$/);
      const evidence = await readEvidence(directory.path);
      return typeof evidence.rc === "object" ? endFromRecord(evidence.rc, undefined, evidence) : undefined;
    }

    test("C10: killed for lack of memory: cause oom, also where a shell says 137", { timeout: 60_000 }, async () => {
      const message = "out of memory: the kernel killed a process of it for lack of memory";
      expect(await endOf(`exec ${greedy}`)).toMatchObject({ cause: "oom", message });
      expect(await endOf(`${greedy}; exit $?`)).toMatchObject({ cause: "oom", exit_code: 137, message });
    });

    test(
      "a process of it was killed and it ended otherwise: its own exit, with a remark",
      { timeout: 60_000 },
      async () => {
        const message = "the kernel killed a process of it for lack of memory";
        expect(await endOf(`${greedy}; exit 3`)).toMatchObject({ cause: "exit", exit_code: 3, message });
        expect(await endOf(`${greedy}; exit 0`)).toMatchObject({ cause: "exit", exit_code: 0 });
      },
    );

    test("a count that others share proves nothing", { timeout: 60_000 }, async () => {
      const message = expect.stringMatching(
        /meanwhile the kernel killed a process here for lack of memory, perhaps this one$/,
      );
      const cause = program === "perl" ? "signal" : "exit";
      expect(await endOf(`exec ${greedy}`, false)).toMatchObject({ cause, message });
    });

    test("killed by somebody else: no word of memory", { timeout: 60_000 }, async () => {
      const end = await endOf("kill -9 $$");
      expect(end?.cause).toBe(program === "perl" ? "signal" : "exit");
      expect(end?.message ?? "").not.toContain("memory");
    });
  });
});
