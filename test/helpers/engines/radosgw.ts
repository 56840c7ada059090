import { findProgram, versionOf } from "./command.ts";
import type { Engine } from "./engine.ts";

/** Where the programs of Ceph lie. @throws Error for one that is missing. */
export function cephProgram(name: string): string {
  const found = findProgram(name, ["/usr/bin", "/usr/sbin"]);
  if (!found) throw new Error(`${name} is not in PATH`);
  return found;
}

const needed = ["ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "monmaptool", "ceph-authtool", "ceph"];

/** Ceph's S3 server with a cluster of one monitor and one store in memory; needs no root. */
export const radosgw: Engine = {
  debianPackages: ["ceph-mon", "ceph-osd", "radosgw", "ceph-common"],
  async probe() {
    const missing = needed.find((name) => !findProgram(name, ["/usr/bin", "/usr/sbin"]));
    if (missing !== undefined) return { ok: false, reason: `${missing} is not in PATH` };
    return versionOf(cephProgram("radosgw"));
  },
};
