import { findProgram } from "../../test/helpers/engines/command.ts";
import { type EngineName, engines } from "../../test/helpers/engines/registry.ts";
import { runStep } from "../lib/run.ts";

/** Installs the Debian packages of these engines with apt-get, as root or through `sudo -n`. Says what it does; a failure is told, not thrown. */
export async function installEngines(names: readonly EngineName[]): Promise<void> {
  const packages = names.flatMap((name): readonly string[] => engines[name].debianPackages);
  if (packages.length === 0) return;
  if (!findProgram("apt-get")) return say(`cannot install ${packages.join(" ")}: no apt-get here`);
  const root = process.getuid?.() === 0;
  if (!root && !findProgram("sudo")) return say(`cannot install ${packages.join(" ")}: neither root nor sudo`);
  say(`installing ${packages.join(" ")} with apt-get`);
  // Tests start their daemons themselves: in runlevel 1 the packages start none.
  const settings = { DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  const assignments = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  const command = root ? ["apt-get"] : ["sudo", "-n", ...assignments, "apt-get"];
  const env = { ...process.env, ...settings };
  for (const args of [
    ["update", "-q"],
    ["install", "-y", "-q", "--no-install-recommends", ...packages],
  ]) {
    const [file = "apt-get", ...before] = command;
    const code = await runStep(file, [...before, ...args], { env, output: "stderr" });
    if (code !== 0) return say(`apt-get ${args[0]} ended with ${code}`);
  }
}

function say(text: string): void {
  process.stderr.write(`siteagent: ${text}\n`);
}
