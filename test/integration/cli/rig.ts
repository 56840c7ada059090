/** A hub and an agent as people start them, each a process of `bin/siteagent`, and a person's shell beside them. */
import { mkdir, writeFile } from "node:fs/promises";
import { z } from "zod";
import { type CliOptions, runCli, startCli } from "../../helpers/cli.ts";
import { killIfThere, listProcesses } from "../../helpers/processes.ts";
import type { Finished, Program } from "../../helpers/program.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";

const listeningSchema = z.object({
  url: z.string(),
  admin: z.object({ username: z.string(), password: z.string() }),
  site: z.object({ id: z.string(), client_id: z.string(), client_secret: z.string() }),
});
export type Listening = z.output<typeof listeningSchema>;

/** Directories of their own and a shell that knows them. */
export class Shell {
  readonly directory: TemporaryDirectory;
  readonly env: Readonly<Record<string, string>>;

  constructor(directory: TemporaryDirectory) {
    this.directory = directory;
    this.env = {
      SITEAGENT_CONFIG_DIR: directory.join("config"),
      SITEAGENT_STATE_DIR: directory.join("state"),
      SITEAGENT_RUNTIME_DIR: directory.join("run"),
      TZ: "UTC",
    };
  }

  get siteFile(): string {
    return this.directory.join("config", "site.yaml");
  }

  run(args: readonly string[], options: CliOptions = {}): Promise<Finished> {
    return runCli(args, { cwd: this.directory.path, ...options, env: { ...this.env, ...options.env } });
  }

  start(args: readonly string[], options: CliOptions = {}): Promise<Program> {
    const { env, ...rest } = options;
    return startCli(args, { home: this.directory.path, ...rest, env: { ...this.env, ...env } });
  }

  /** What a command prints as JSON; rejects when it fails. */
  async json(...args: readonly string[]): Promise<unknown> {
    const { stdout, stderr, code } = await this.run([...args, "-o", "json"]);
    if (code !== 0) throw new Error(`siteagent ${args.join(" ")}: exit ${code}\n${stderr}`);
    return JSON.parse(stdout);
  }

  /** The id that a command prints. */
  async id(...args: readonly string[]): Promise<string> {
    const { stdout, stderr, code } = await this.run([...args, "-o", "name"]);
    if (code !== 0) throw new Error(`siteagent ${args.join(" ")}: exit ${code}\n${stderr}`);
    return stdout.trim();
  }
}

/** A development hub, and the shell logged in as its administrator. */
export async function startHubFor(shell: Shell, stack: AsyncDisposableStack): Promise<Listening> {
  const program = stack.use(
    await shell.start(["hub", "--dev", "--port", "0", "--data", shell.directory.join("hub"), "-o", "json"]),
  );
  const [line = ""] = await program.output(/^\{.*\}$/m);
  const listening = listeningSchema.parse(JSON.parse(line));
  const { admin, url } = listening;
  const login = await shell.run(["login", "--hub", url, "--username", admin.username, "--password-file", "-"], {
    input: `${admin.password}\n`,
  });
  if (login.code !== 0) throw new Error(`login: ${login.stderr}`);
  return listening;
}

/** An agent of the hub's site with some small apps. */
export async function startAgentFor(shell: Shell, hub: Listening, stack: AsyncDisposableStack): Promise<Program> {
  await mkdir(shell.directory.join("config"), { recursive: true, mode: 0o700 });
  const secret = shell.directory.join("config", "secret");
  await writeFile(secret, `${hub.site.client_secret}\n`, { mode: 0o600 });
  await writeFile(shell.siteFile, siteText(hub, secret), { mode: 0o600 });
  const agent = stack.use(await shell.start(["run"]));
  await waitFor(async () => (await shell.run(["status", "-o", "name"])).stdout.trim() === "running", {
    what: () => `the agent to run\n${agent.stdout}\n${agent.stderr}`,
    timeoutMs: 30_000,
    intervalMs: 100,
  });
  return agent;
}

function siteText(hub: Listening, secret: string): string {
  return `site: ${hub.site.id}
api: { url: "${hub.url}", client_id: "${hub.site.client_id}", client_secret: { file: "${secret}" } }
agent: { report: full, min_free_space: 1MiB }
targets: { local: { host: here, launcher: local, slots: 4 } }
apps:
  hello:
    workflow: hello-1.0.0
    parameters: { name: { type: string, default: world, pattern: "^[A-Za-z0-9_ ]+$" } }
    command: [/bin/sh, -c, 'echo "hello $0"; echo "to the other stream" >&2; echo "$0" > greeting.txt', "{{name}}"]
    outputs: { greeting: { from: greeting.txt } }
    target: local
  failing: { workflow: failing-1.0.0, command: [/bin/sh, -c, "echo trouble >&2; exit 3"], target: local }
  slow: { workflow: slow-1.0.0, command: [/bin/sh, -c, "echo begun; sleep 600"], target: local, grace: 1s }
  odd: { workflow: odd-1.0.0, command: [/usr/bin/printf, '\\033[2Jclear\\n'], target: local }
  terminal: { workflow: terminal-1.0.0, command: [/bin/sh, -c, "read line; echo you said $line"], target: local, runtime: pty }
`;
}

/** The runner outlives its agent by design, also what a failed test left; only processes that live in this directory. */
async function endProcessesOf(directory: string): Promise<void> {
  const ours = () =>
    listProcesses().filter(({ cwd, command }) => cwd?.startsWith(directory) || command.includes(directory));
  for (const { pid } of ours()) killIfThere(pid);
  await waitFor(() => ours().length === 0, { what: `the end of the processes in ${directory}` });
}

/** Hub, agent and shell in one directory, ended with their scope. */
export async function startRig(): Promise<{ readonly shell: Shell; readonly hub: Listening } & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const shell = new Shell(stack.use(await temporaryDirectory("sa-cli-")));
  stack.defer(async () => await endProcessesOf(shell.directory.path));
  const hub = await startHubFor(shell, stack);
  await startAgentFor(shell, hub, stack);
  const owned = stack.move();
  return { shell, hub, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
