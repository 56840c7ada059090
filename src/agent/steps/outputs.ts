import type { OutputFile } from "../../wire/common.ts";
import type { Report } from "../../wire/agent-api.ts";
import type { OutboxEntry } from "../book.ts";
import type { HeldJob } from "../held-job.ts";
import { hubScheme } from "../hub-outputs.ts";
import { readPage } from "../manifest-file.ts";
import { manifestPath } from "./file-records.ts";

/** What central is told of the outputs. Places on the site's own disks are told only when the site says `report: full`. */
export function outputsOf(job: Pick<HeldJob, "manifest_out">, report: "minimal" | "full"): OutputFile[] {
  return job.manifest_out.map((entry) => {
    const stored = entry.url.startsWith(`${hubScheme}:`);
    const file = { output: entry.item, path: entry.path, bytes: entry.bytes, sha256: entry.sha256, stored };
    if (stored || (entry.url.startsWith("file:") && report === "minimal")) return file;
    return { ...file, url: entry.url };
  });
}

/** A report as it is sent: the outputs of a page are read for that alone. Undefined: they are not there any more. */
export async function wholeReport(
  { report, page }: OutboxEntry,
  job: HeldJob | undefined,
  detail: "minimal" | "full",
): Promise<Report | undefined> {
  if (!page) return report;
  const entries = job && (await readPage(manifestPath(job, "out"), page));
  return entries && { ...report, outputs: outputsOf({ manifest_out: entries }, detail) };
}
