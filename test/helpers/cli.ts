import { join } from "node:path";
import { compileCache } from "./compile-cache.ts";
import { type Finished, Program } from "./program.ts";
import { temporaryDirectory } from "./temporary.ts";

/** The repository. */
export const repository: string = join(import.meta.dirname, "..", "..");

/** The command as a person starts it. */
export const siteagentBin: string = join(repository, "bin", "siteagent");

export interface CliOptions {
  /** Added to a small clean environment (PATH, TMPDIR, C.UTF-8, NO_COLOR, an empty HOME of its own and siteagent's places in it). */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly input?: string | Uint8Array;
  readonly cwd?: string;
  /** When it has not ended by then it is killed and the call rejects; default 60 s. */
  readonly timeoutMs?: number;
}

/**
 * The environment of every program under test: nothing of the person who runs the tests reaches it. PATH begins with the
 * directory of this Node.
 */
export function cleanEnvironment(
  home: string,
  extra: Readonly<Record<string, string | undefined>> = {},
): Record<string, string | undefined> {
  const kept: Record<string, string | undefined> = {};
  for (const name of ["PATH", "TMPDIR", "NODE_EXTRA_CA_CERTS", "NODE_V8_COVERAGE"]) kept[name] = process.env[name];
  // Also for root, whose own places are not below HOME.
  const places = {
    SITEAGENT_CONFIG_DIR: join(home, ".config", "siteagent"),
    SITEAGENT_STATE_DIR: join(home, ".local", "state", "siteagent"),
    SITEAGENT_RUNTIME_DIR: join(home, ".local", "state", "siteagent", "run"),
  };
  return { ...kept, ...compileCache, LANG: "C.UTF-8", NO_COLOR: "1", HOME: home, ...places, ...extra };
}

/** Runs `bin/siteagent` to its end. Standard input is empty unless `input` is given. */
export async function runCli(args: readonly string[], options: CliOptions = {}): Promise<Finished> {
  await using home = await temporaryDirectory("sa-home-");
  await using program = await Program.start(siteagentBin, args, {
    env: cleanEnvironment(home.path, options.env),
    cwd: options.cwd ?? home.path,
    input: options.input ?? "",
  });
  return await program.result(options.timeoutMs ?? 60_000);
}

/** Starts `bin/siteagent` and lets it run: `await using hub = await startCli(["hub", …], { home })`. Ended by SIGTERM. */
export function startCli(
  args: readonly string[],
  options: Omit<CliOptions, "timeoutMs"> & {
    /** Its HOME and, unless `cwd` says otherwise, its working directory. */
    readonly home: string;
  },
): Promise<Program> {
  return Program.start(siteagentBin, args, {
    env: cleanEnvironment(options.home, options.env),
    cwd: options.cwd ?? options.home,
    ...(options.input === undefined ? {} : { input: options.input }),
  });
}
