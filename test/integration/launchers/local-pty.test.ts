/** Attempts with a terminal: they need one, people attach to it, and it needs nobody. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { isFault } from "../../../src/common/fault.ts";
import { type Attached, attachToAttempt } from "../../../src/runner/attach.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { waitFor } from "../../helpers/wait.ts";
import { context, launchOne, makePlan, readOut, stopped, untilState } from "./attempts.ts";
import { localHarness } from "./local-harness.ts";

failOnLeakedProcesses();

/** A person at a terminal of 100 by 30. */
class Person {
  readonly keys = new PassThrough();
  readonly screen = Object.assign(new PassThrough(), { columns: 100, rows: 30 });
  readonly attached: Promise<Attached>;
  readonly #leave = new AbortController();
  #seen = "";

  constructor(directory: string) {
    this.screen.on("data", (data: Buffer) => (this.#seen += data.toString("utf8")));
    this.attached = attachToAttempt(directory, { stdin: this.keys, stdout: this.screen, signal: this.#leave.signal });
    this.attached.catch(() => {}); // awaited by the test
  }

  type(text: string): void {
    this.keys.write(text);
  }

  leave(): void {
    this.#leave.abort();
  }

  async sees(text: string): Promise<void> {
    await waitFor(() => this.#seen.includes(text), { what: () => `'${text}' in '${this.#seen}'` });
  }
}

/** Somebody can attach when the holder listens. */
async function attachable(directory: string): Promise<void> {
  await waitFor(
    async () =>
      existsSync((JSON.parse(await readFile(join(directory, "pty.json"), "utf8")) as { socket: string }).socket),
    { what: "the terminal's socket" },
  );
}

test.each(["auto", "group"] as const)(
  "a command has a terminal, its output and exit code are kept (%s)",
  async (containment) => {
    await using harness = await localHarness({ containment });
    const plan = await makePlan(
      harness.root,
      "test -t 0 && test -t 1 && tty && pwd && echo $TERM && ulimit -n; exit 11",
      {
        runtime: "pty",
      },
    );
    await launchOne(harness.launcher, plan);
    const { end, remaining } = await untilState(harness.launcher, plan, "ended");
    expect(end).toMatchObject({ cause: "exit", exit_code: 11 });
    expect(remaining).toEqual([]);
    const lines = (await readOut(plan)).split("\r\n");
    expect(lines[0]).toMatch(/^\/dev\/pts\/\d+$/);
    expect(lines.slice(1, 4)).toEqual([plan.workDirectory, "xterm-256color", "1024"]);
  },
);

test("people attach: they see what was printed before, type, and the size follows", async () => {
  await using harness = await localHarness();
  const script = 'echo hello; read -r name; echo "you are $name"; stty size; read -r rest; exit 12';
  const plan = await makePlan(harness.root, script, { runtime: "pty" });
  await launchOne(harness.launcher, plan);
  await attachable(plan.directory);
  const person = new Person(plan.directory);
  await person.sees("hello");
  person.type("alice\n");
  await person.sees("you are alice");
  await person.sees("30 100");
  person.type("\n");
  expect(await person.attached).toEqual({ how: "ended", exitCode: 12, signal: undefined });
  expect((await untilState(harness.launcher, plan, "ended")).end).toMatchObject({ cause: "exit", exit_code: 12 });
});

test("who leaves, by key or otherwise, ends nothing; without the runner people still attach", async () => {
  await using harness = await localHarness();
  const plan = await makePlan(harness.root, 'read -r line; echo "got $line"; exit 13', { runtime: "pty" });
  await launchOne(harness.launcher, plan);
  await attachable(plan.directory);
  await harness.killRunner();
  const first = new Person(plan.directory);
  first.type("ab\x1d");
  expect(await first.attached).toEqual({ how: "detached" });
  const second = new Person(plan.directory);
  second.leave();
  expect(await second.attached).toEqual({ how: "detached" });
  const third = new Person(plan.directory);
  third.type("c\n");
  await third.sees("got abc");
  expect(await third.attached).toMatchObject({ how: "ended", exitCode: 13 });
  expect((await untilState(harness.launcher, plan, "ended")).end).toMatchObject({ cause: "exit", exit_code: 13 });
});

test("is stopped like any other, also when it ignores TERM; death by a signal is seen as one", async () => {
  await using harness = await localHarness();
  const plan = await makePlan(harness.root, "trap '' TERM HUP; echo ready; sleep 61 & wait; sleep 62", {
    runtime: "pty",
  });
  const ref = await launchOne(harness.launcher, plan);
  await waitFor(async () => (await readOut(plan)).includes("ready"), { what: "the trap" });
  await stopped(harness.launcher, ref, 200);
  expect((await untilState(harness.launcher, ref, "ended")).end.cause).toBe("cancelled");
  const dead = await makePlan(harness.root, "kill -KILL $$", { runtime: "pty" });
  await launchOne(harness.launcher, dead);
  expect((await untilState(harness.launcher, dead, "ended")).end).not.toMatchObject({ exit_code: 0 });
});

test("an attempt without a terminal cannot be attached to", async () => {
  await using harness = await localHarness();
  const plan = await makePlan(harness.root, "exit 0");
  await expect(new Person(plan.directory).attached).rejects.toSatisfy((error) => isFault(error, "NOT_FOUND"));
});

test("without node-pty only the runtime pty is refused", async () => {
  await using harness = await localHarness({ pty: false });
  expect(harness.launcher.capabilities).toMatchObject({ runtimes: ["plain"], attach: false });
  const plans = [await makePlan(harness.root, "exit 1", { runtime: "pty" }), await makePlan(harness.root, "exit 1")];
  const [pty, plain] = await harness.launcher.launch(plans, context);
  expect(pty).toMatchObject({ state: "refused", end: { cause: "launch" } });
  expect(JSON.stringify(pty)).toContain("node-pty");
  expect(plain?.state).toBe("accepted");
});
