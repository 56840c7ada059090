import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { cleanEnvironment, repository } from "../../helpers/cli.ts";
import { Program } from "../../helpers/program.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";

interface Told {
  readonly socket: string;
  readonly words: readonly string[];
}

/** A place with a `systemd-notify` that writes down what it is told, and an agent whose central API does not exist. */
async function agentUnderSystemd(watchdogUsec: string | undefined) {
  const directory = await temporaryDirectory("sa-notify-");
  onTestFinished(() => directory[Symbol.asyncDispose]());
  for (const name of ["bin", "state", "run", "work"]) await mkdir(directory.join(name), { mode: 0o700 });
  const told = directory.join("told");
  const fake = directory.join("bin", "systemd-notify");
  await writeFile(fake, `#!/bin/sh\n{ printf '%s|' "$NOTIFY_SOCKET" "$@"; echo; } >> '${told}'\n`);
  await chmod(fake, 0o755);
  await writeFile(directory.join("secret"), "s3cret\n", { mode: 0o600 });
  await writeFile(
    directory.join("site.yaml"),
    `site: lab
api: { url: "http://127.0.0.1:1", client_id: x, client_secret: { file: ./secret } }
agent: { state_dir: ./state, runtime_dir: ./run, min_free_space: 1MB }
hosts: { here: { workdir: ./work } }
targets: { local: { host: here, launcher: local, slots: 1 } }
apps: {}
`,
  );
  const env = {
    ...cleanEnvironment(directory.path),
    PATH: `${directory.join("bin")}:/usr/bin:/bin`,
    NOTIFY_SOCKET: "@of-the-test",
    WATCHDOG_USEC: watchdogUsec,
  };
  const main = join(repository, "src", "main.ts");
  const agent = await Program.start(process.execPath, [main, "run", "--config", directory.join("site.yaml")], { env });
  onTestFinished(async () => void (await agent.stop()));
  const read = async (): Promise<readonly Told[]> => {
    const lines = (await readFile(told, "utf8")).split("\n").filter((line) => line !== "");
    return lines.map((line) => {
      const [socket = "", , ...words] = line.split("|").slice(0, -1);
      return { socket, words };
    });
  };
  return { agent, read };
}

const pings = (told: readonly Told[]): number => told.filter((one) => one.words.includes("WATCHDOG=1")).length;

describe("the agent under systemd", () => {
  test("is ready without the API, gives signs of life while the API is away, and says that it stops", async () => {
    const { agent, read } = await agentUnderSystemd("400000");
    await waitFor(async () => pings(await read()) >= 3, { what: "three signs of life", timeoutMs: 30_000 });
    const told = await read();
    expect(told[0]).toEqual({ socket: "@of-the-test", words: ["READY=1"] });
    await waitFor(async () => (await read()).some(({ words }) => /central does not answer/.test(words.join())), {
      what: "the status line",
    });
    const { code } = await agent.stop();
    expect(code).toBe(0);
    const all = (await read()).map(({ words }) => words);
    const stopping = all.findIndex((words) => words.includes("STOPPING=1"));
    expect(all[stopping]).toEqual(["STOPPING=1", "STATUS=stopping; attempts go on"]);
    // While the stop takes its time, signs of life go on.
    for (const words of all.slice(stopping + 1)) {
      for (const word of words) expect(word).toMatch(/^WATCHDOG=1$|^STATUS=stopping; /);
    }
  });

  test("sends no signs of life where no watchdog asks for them", async () => {
    const { agent, read } = await agentUnderSystemd(undefined);
    await waitFor(async () => (await read()).some(({ words }) => words.join().startsWith("STATUS=running")), {
      what: "the status line",
      timeoutMs: 30_000,
    });
    await agent.stop();
    expect(pings(await read())).toBe(0);
  });
});
