import { maskName, maskOf } from "../jobs/gpus.ts";
import type { Compiling } from "./compiling.ts";
import type { SiteTarget } from "./types.ts";

/** A number means the first so many: of those that a scheduler or an administrator showed this process, else of the machine. */
export function compileGpus(
  { loaded: { report }, env }: Compiling,
  path: readonly PropertyKey[],
  { gpus, gpu_vendor: gpuVendor }: Compiling["settings"]["targets"][string],
  allocation: boolean,
): Pick<SiteTarget, "gpus" | "gpuVendor" | "gpuIds"> {
  const at = [...path, "gpus"];
  if (typeof gpus === "object") {
    const twice = gpus.find((id, index) => gpus.indexOf(id) !== index);
    if (twice !== undefined)
      report.add({ path: at, message: `GPU '${twice}' is there twice`, allowed: "each id once" });
    if (allocation)
      report.add({ path: at, message: "which GPUs an attempt gets says the scheduler", allowed: "how many" });
    return { gpus: gpus.length, gpuVendor, gpuIds: gpus };
  }
  if (gpus === undefined || allocation) return { gpus, gpuVendor, gpuIds: [] };
  const shown = maskOf(gpuVendor, env);
  if (shown && shown.length < gpus) {
    const message = `'${gpus}' GPUs are more than ${maskName(gpuVendor)} shows this process: ${shown.join(",")}`;
    report.add({ path: at, message, allowed: `at most ${shown.length}` });
  }
  return {
    gpus,
    gpuVendor,
    gpuIds: (shown ?? Array.from({ length: gpus }, (_, index) => String(index))).slice(0, gpus),
  };
}
