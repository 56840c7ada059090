/** Starting attempts with recorders that say unusual things, or cannot be started at all. */
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { silentLogger } from "../../../src/common/logger.ts";
import { Attempts } from "../../../src/runner/attempts.ts";
import type { StartRequest } from "../../../src/runner/protocol.ts";
import type { Recorder } from "../../../src/runner/recorders.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import { makePlan } from "../launchers/attempts.ts";

failOnLeakedProcesses();

/** A recorder that is the given shell text; `$0` is the attempt's directory. */
const saying = (script: string): Recorder => ({ form: "sh", command: ["/bin/sh", "-c", script] });

async function requestOf(root: string): Promise<StartRequest> {
  const { argv, environment, limitMs: _, ...plan } = await makePlan(root, "exit 0");
  return { ...plan, argv: [...argv], environment: { ...environment } };
}

function attemptsOf(root: string, recorder: Recorder, changed: string[] = []): Attempts {
  return new Attempts({
    recorder,
    cgroups: undefined,
    openFiles: 1024,
    socketDirectory: root,
    log: silentLogger,
    onChange: (token) => changed.push(token),
  });
}

describe("what a recorder says is what the launcher is told", () => {
  it.each([
    ["echo 'guard'", { state: "existing" }],
    ["echo 'refused 127 no such program'", { state: "refused", exitCode: 127, message: "no such program" }],
    ["echo 'error the plan cannot be read'", { state: "failed", message: "the plan cannot be read" }],
    ["echo 'bonjour'", { state: "unknown", message: "the recorder said 'bonjour'" }],
    ["exit 3", { state: "unknown", message: "the recorder ended without a word" }],
    ["printf 'start'; exit 0", { state: "unknown", message: "the recorder ended without a word" }],
    ["echo 'started 1000000000'", { state: "started" }],
  ])("%s", async (script, answer) => {
    await using directory = await temporaryDirectory();
    const attempts = attemptsOf(directory.path, saying(script));
    const plan = await requestOf(directory.path);
    expect(await attempts.start(plan)).toMatchObject(answer);
  });

  it("one that cannot be started is a failure, and its token is free for the next try", async () => {
    await using directory = await temporaryDirectory();
    const plan = await requestOf(directory.path);
    const attempts = attemptsOf(directory.path, { form: "sh", command: [directory.join("nowhere")] });
    expect(await attempts.start(plan)).toEqual({
      state: "failed",
      message: expect.stringContaining("ENOENT"),
    });
    expect(attempts.busy).toBe(false);
    const changed: string[] = [];
    const next = attemptsOf(directory.path, saying("echo 'refused 1 no'"), changed);
    expect(await next.start(plan)).toMatchObject({ state: "refused" });
  });

  it("a plan that cannot be written starts nothing", async () => {
    await using directory = await temporaryDirectory();
    const attempts = attemptsOf(directory.path, saying(`touch '${directory.join("started")}'`));
    const plan = await requestOf(directory.path);
    const nowhere = { ...plan, directory: join(plan.directory, "missing") };
    expect(await attempts.start(nowhere)).toMatchObject({
      state: "failed",
      message: expect.stringContaining("cannot write 'plan.sh'"),
    });
    expect(existsSync(directory.join("started"))).toBe(false);
  });

  it("a start that is under way is joined, and one that runs is not started again", async () => {
    await using directory = await temporaryDirectory();
    const starts = directory.join("starts");
    const recorder = saying(
      `echo x >> '${starts}'; echo "started $$"; while [ ! -e '${directory.join("go")}' ]; do sleep 0.05; done`,
    );
    const changed: string[] = [];
    const attempts = attemptsOf(directory.path, recorder, changed);
    const plan = await requestOf(directory.path);
    const answers = await Promise.all([attempts.start(plan), attempts.start(plan)]);
    expect(answers.map(({ state }) => state)).toEqual(["started", "started"]);
    expect(answers[0]).toMatchObject({ job: { pid: expect.any(Number) }, recorder: { pid: expect.any(Number) } });
    expect(await attempts.start(plan)).toEqual({ state: "existing" });
    expect(attempts.live).toEqual([plan.token]);
    await writeFile(directory.join("go"), "");
    await waitFor(() => changed.includes(plan.token), { what: "the end of the recorder" });
    expect(attempts.busy).toBe(false);
    expect(await readFile(starts, "utf8")).toBe("x\n");
  });
});
