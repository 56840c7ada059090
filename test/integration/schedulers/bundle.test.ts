import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";
import type { CallContext } from "../../../src/common/context.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { LocalHost } from "../../../src/hosts/local/index.ts";
import type { Host, RunRequest, RunResult } from "../../../src/hosts/types.ts";
import { type BundledCommand, runBundle } from "../../../src/schedulers/bundle.ts";
import { cleanEnvironment, repository } from "../../helpers/cli.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { isAlive } from "../../helpers/processes.ts";
import { Program } from "../../helpers/program.ts";
import { waitFor } from "../../helpers/wait.ts";
import { temporaryDirectory, type TemporaryDirectory } from "../../helpers/temporary.ts";

const context: CallContext = { signal: new AbortController().signal, log: silentLogger, clock: systemClock };
failOnLeakedProcesses();

let directory: TemporaryDirectory;
let host: Host;

beforeAll(async () => {
  directory = await temporaryDirectory();
  host = new LocalHost({ name: "here", workdir: directory.path });
  // Does what its standard input says, and notes that it was called.
  await writeFile(directory.join("obey"), `#!/bin/sh\necho called >>${directory.join("calls")}\neval "$(cat)"\n`);
  await chmod(directory.join("obey"), 0o755);
});
afterAll(() => directory[Symbol.asyncDispose]());

const command = (stdin: string, ...args: string[]): BundledCommand<RunResult> => ({
  argv: ["obey", ...args],
  stdin,
  timeoutMs: 30_000,
  maxOutputBytes: 100_000,
  parse: (result) => result,
});
const run = (commands: readonly BundledCommand<RunResult>[], on = host): Promise<readonly (RunResult | undefined)[]> =>
  runBundle(on, commands, { PATH: `${directory.path}:/usr/bin:/bin` }, context);
const calls = async (): Promise<number> => (await readFile(directory.join("calls"), "utf8").catch(() => "")).length / 7;

it("gives each its own output, words and code, whatever they hold", async () => {
  const results = await run([
    command("printf 'no line end'; echo oops >&2; exit 3"),
    command("echo \"$1\"; cat <<'X'\n$HOME `id` \\\nX", "it's $HOME"),
    command("kill -KILL $$"),
    command("printf '\\n\\n'; printf '\\n' >&2"),
  ]);
  const facts = results.map((one) => one && [one.exitCode, one.stdout, one.stderr.replace(/.*Killed.*\n/, "")]);
  expect(facts).toEqual([
    [3, "no line end", "oops\n"],
    [0, "it's $HOME\n$HOME `id` \\\n", ""],
    [137, "", ""],
    [0, "\n\n", "\n"],
  ]);
});

it("says what was cut, and what was never begun", async () => {
  const before = await calls();
  const cut = (result: Partial<RunResult>): Host =>
    Object.assign(Object.create(host) as Host, {
      run: async (request: RunRequest) => {
        const whole = await host.run(request, context);
        const stdout = whole.stdout.slice(0, whole.stdout.lastIndexOf("\n", whole.stdout.length - 2));
        return { ...whole, stdout, ...result };
      },
    });
  const commands = [command("echo one"), command("echo two")];
  const [one, two] = await run(commands, cut({ exitCode: undefined, signal: "SIGKILL" }));
  expect([one?.exitCode, two?.exitCode, two?.signal, two?.stdout]).toEqual([0, undefined, "SIGKILL", "two\n"]);
  const gone = [command(`mv ${directory.join("obey")} ${directory.join("away")}; echo moved`), command("echo never")];
  expect((await run(gone)).map((result) => result?.stdout)).toEqual(["moved\n", undefined]);
  await expect(run(gone)).rejects.toMatchObject({
    code: "LAUNCH",
    message: expect.stringContaining("'obey' is in no"),
  });
  expect((await calls()) - before).toBe(3);
});

it("E1: begins no further one when whoever asked was killed", { timeout: 60_000 }, async () => {
  await using place = await temporaryDirectory();
  const source = (name: string): string => JSON.stringify(join(repository, "src", name));
  const slow = `echo $PPID >${place.join("shell.tmp")}; mv ${place.join("shell.tmp")} ${place.join("shell")}; until [ -e ${place.join("go")} ]; do sleep 0.05; done`;
  const asker = `
    const { runBundle } = await import(${source("schedulers/bundle.ts")});
    const { LocalHost } = await import(${source("hosts/local/index.ts")});
    const { systemClock: clock } = await import(${source("common/clock.ts")});
    const command = (stdin) => ({ argv: ["/bin/sh"], stdin, timeoutMs: 60_000, maxOutputBytes: 1_000, parse: String });
    const commands = [command(${JSON.stringify(slow)}), command("touch ${place.join("second")}")];
    const host = new LocalHost({ name: "here", workdir: "/" });
    await runBundle(host, commands, { PATH: "/usr/bin:/bin" }, { signal: new AbortController().signal, clock });`;
  const args = ["--input-type=module", "-e", asker];
  const program = await Program.start(process.execPath, args, { env: cleanEnvironment(place.path) });
  const shell = Number(
    await waitFor(() => readFile(place.join("shell"), "utf8").catch(() => undefined), { what: "the first" }),
  );
  program.signal("SIGKILL");
  await program.finished;
  await writeFile(place.join("go"), "");
  await waitFor(() => !isAlive(shell), { what: "the end of the shell" });
  await expect(readFile(place.join("second"))).rejects.toMatchObject({ code: "ENOENT" });
});
