import { execFile } from "node:child_process";
import { userInfo } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Daemon } from "../daemon.ts";
import { slurmProgram } from "./slurm.ts";

const run = promisify(execFile);
const readyWithinMs = 60_000;

/** Makes a MariaDB in the directory and starts it (0.8 s) without network; its socket is `s` in there, `root` needs no password. */
export async function startMariaDb(directory: string, log: string): Promise<Daemon> {
  const environment = { PATH: "/usr/bin:/bin:/usr/sbin:/sbin", LC_ALL: "C" };
  const data = join(directory, "data");
  const common = ["--no-defaults", `--user=${userInfo().username}`, `--datadir=${data}`];
  const install = [...common, "--auth-root-authentication-method=normal", "--skip-test-db"];
  await run(slurmProgram("mariadb-install-db"), install, { env: environment, cwd: directory, timeout: readyWithinMs });
  const socket = join(directory, "s");
  const daemon = await Daemon.start({
    argv: [
      slurmProgram("mariadbd"),
      ...common,
      `--socket=${socket}`,
      `--pid-file=${join(directory, "pid")}`,
      "--skip-networking",
      "--skip-log-bin",
      "--innodb-buffer-pool-size=64M",
      "--innodb-flush-log-at-trx-commit=0",
    ],
    environment,
    cwd: directory,
    log,
  });
  const ping = ["--no-defaults", "-S", socket, "-u", "root", "ping"];
  await daemon.until(
    async () => (await run(slurmProgram("mariadb-admin"), ping, { env: environment })).stdout.includes("alive"),
    "a database that answers",
    readyWithinMs,
  );
  return daemon;
}
