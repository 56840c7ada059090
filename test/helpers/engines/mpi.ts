import { findProgram, versionOf } from "./command.ts";
import type { Engine } from "./engine.ts";

/** Open MPI's starter, under the name that it has beside others. */
export const openmpi = starter("openmpi-bin", "mpiexec.openmpi");

/** MPICH's starter Hydra. */
export const mpich = starter("mpich", "mpiexec.hydra");

function starter(debianPackage: string, program: string): Engine {
  return {
    debianPackages: [debianPackage],
    async probe() {
      const found = findProgram(program);
      return found === undefined ? { ok: false, reason: `'${program}' is not there` } : await versionOf(found);
    },
  };
}
