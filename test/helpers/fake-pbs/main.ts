/**
 * A PBS server as commands know it, for tests: `main.ts DIRECTORY COMMAND ARGUMENTS…`. Runs what is submitted at once, as processes. Its words and exit statuses are
 * those of OpenPBS 23.06.06 (test/fixtures/openpbs), or those of Torque 6 by its published sources and manual; it has no limits, one queue (`workq`), and the faults
 * that it is told to have.
 */
import { keep } from "./keeper.ts";
import { qdel, qhold, qrls } from "./orders.ts";
import { qselect, qstat } from "./query.ts";
import { isTorque, serverName, Store } from "./store.ts";
import { type Output, qsub, Refused } from "./submit.ts";

const [directory = "", name = "", ...args] = process.argv.slice(2);
const store = new Store(directory);
const commands: Readonly<Record<string, (store: Store, args: readonly string[]) => Output>> = {
  qsub,
  qstat,
  qselect,
  qdel,
  qhold,
  qrls,
};

if (name === "keeper") await keep(store, args[0] ?? "");
else await answer();

async function answer(): Promise<void> {
  const faults = store.faults();
  if (args[0] === "--version") return say(versionOf());
  // An empty list of jobs to be deleted with mail, which the real server never answers.
  const unanswered = name === "qdel" && args.some((word) => /suppress_email=-/.test(word));
  if (faults.hang || unanswered) await new Promise((resolve) => setTimeout(resolve, 600_000));
  if (faults.down) return say(unreachable());
  if (faults.credential) return say({ exitCode: 171, stdout: "", stderr: `${name}: Invalid credential\n` });
  try {
    say(commands[name]?.(store, args) ?? { exitCode: 127, stdout: "", stderr: `${name}: no such command\n` });
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    say({ exitCode: error.exitCode, stdout: "", stderr: error.message });
  }
}

function versionOf(): Output {
  if (isTorque) return { exitCode: 0, stdout: "", stderr: "Version: 6.1.3\nCommit: 8f0d0b5\n" };
  return { exitCode: 0, stdout: "pbs_version = 23.06.06\n", stderr: "" };
}

function unreachable(): Output {
  if (isTorque) {
    const stderr = `${name}: cannot connect to server ${serverName} (errno=111) Connection refused\n`;
    return { exitCode: 111, stdout: "", stderr };
  }
  if (name === "qdel") {
    return { exitCode: 162, stdout: "", stderr: `Connection refused\nCouldn't connect to cluster: ${serverName}\n` };
  }
  const head = `{\n\t"timestamp":\t1,\n\t"pbs_version":\t"23.06.06",\n\t"pbs_server":\t"${serverName}"\n}\n`;
  const stderr = `Connection refused\n${name}: cannot connect to server ${serverName} (errno=15010)\n`;
  return { exitCode: name === "qstat" ? 255 : 162, stdout: args.includes("json") ? head : "", stderr };
}

function say({ exitCode, stdout, stderr }: Output): void {
  const banner = store.faults().banner ? "*** Welcome. 3 jobs of 5 used, see 10.0.0.1 ***\n" : "";
  process.stdout.write(name === "qstat" ? stdout : banner + stdout + banner);
  process.stderr.write(banner + stderr);
  process.exitCode = exitCode;
}
