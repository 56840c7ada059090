import { RadosGateway } from "../../test/helpers/engines/radosgw-server.ts";
import { radosgw } from "../../test/helpers/engines/radosgw.ts";
import { rsync } from "../../test/helpers/engines/rsync.ts";
import { sshd } from "../../test/helpers/engines/sshd.ts";
import { byRsync, byS3, type FarSide, farSides, roundTrip } from "../../test/integration/transfer/round-trips.ts";
import type { Phase, PhaseResult } from "./phases.ts";

const mebibyte = 1024 * 1024;
/** Every so many rounds a file of this size. */
const largeEvery = 5;
const largeBytes = 200 * mebibyte;
const usualBytes = 12 * mebibyte;
const killsEachWay = 3;

/**
 * Random trees there and back over real SFTP, by rsync and to a real object store where they are installed, to servers of several kinds in
 * turn, while connections are cut and the process that moves them is killed: what comes back has to be what went, by digest.
 */
export const transfers: Phase = {
  name: "transfers",
  async run({ kills, seed, only, say }): Promise<PhaseResult> {
    const found = await sshd.probe();
    if (!found.ok) {
      say(`not run: ${found.reason}`);
      return { counts: [["not run: no sshd", 0]], failures: [] };
    }
    const isWanted = (name: string): boolean => only === undefined || name.includes(only);
    const sides: FarSide[] = farSides.filter(({ name }) => isWanted(name));
    if (isWanted(byRsync.name) && (await rsync.probe()).ok) sides.push(byRsync);
    await using gateway = isWanted("by S3") && (await radosgw.probe()).ok ? await RadosGateway.start() : undefined;
    if (gateway) sides.push(byS3(gateway));
    const sums = { trees: 0, files: 0, mebibytes: 0, kills: 0, cuts: 0 };
    const failures: string[] = [];
    for (let round = 0; sums.kills < kills && sides.length > 0 && round < kills; round++) {
      const side = sides[round % sides.length];
      if (!side) break;
      const mostBytes = round % largeEvery === largeEvery - 1 ? largeBytes : usualBytes;
      const trip = await roundTrip(side, { seed: seed + round, mostBytes, mostFiles: 60, kills: killsEachWay });
      sums.trees++;
      sums.files += trip.files;
      sums.mebibytes += Math.round(trip.bytes / mebibyte);
      sums.kills += trip.kills;
      sums.cuts += trip.cuts;
      failures.push(...trip.wrong.map((what) => `seed ${seed + round}, ${side.name}: ${what}`));
      say(`${sums.trees} trees, ${sums.kills} of ${kills} kills, ${sums.cuts} cuts, ${failures.length} differences`);
    }
    return { counts: Object.entries(sums), failures };
  },
};
