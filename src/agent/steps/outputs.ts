import type { OutputFile } from "../../wire/common.ts";
import type { HeldJob } from "../held-job.ts";
import { hubScheme } from "../hub-outputs.ts";

/** What central is told of the outputs. Places on the site's own disks are told only when the site says `report: full`. */
export function outputsOf(job: HeldJob, report: "minimal" | "full"): OutputFile[] {
  return job.manifest_out.map((entry) => {
    const stored = entry.url.startsWith(`${hubScheme}:`);
    const file = { output: entry.item, path: entry.path, bytes: entry.bytes, sha256: entry.sha256, stored };
    if (stored || (entry.url.startsWith("file:") && report === "minimal")) return file;
    return { ...file, url: entry.url };
  });
}
