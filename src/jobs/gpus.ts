/** GPUs of a machine that attempts share: their ids, and the variables by which a program sees only its own. */
import { z } from "zod";

/**
 * What hides GPUs, by vendor. Of AMD's masks only the lowest: HIP_VISIBLE_DEVICES and CUDA_VISIBLE_DEVICES count among what
 * ROCR_VISIBLE_DEVICES leaves, so that both together would hide all.
 */
const masks = { nvidia: "CUDA_VISIBLE_DEVICES", amd: "ROCR_VISIBLE_DEVICES", intel: "ZE_AFFINITY_MASK" } as const;
export type GpuVendor = keyof typeof masks;
export const gpuVendors = Object.keys(masks) as [GpuVendor, ...GpuVendor[]];

/** Variables that say which GPUs a program sees; where we give them out nobody else sets one. */
export const gpuVariables: readonly string[] = [
  ...Object.values(masks),
  "CUDA_DEVICE_ORDER",
  "GPU_DEVICE_ORDINAL",
  "HIP_VISIBLE_DEVICES",
  "NVIDIA_VISIBLE_DEVICES",
];

const gpuIdSchema = z
  .union([
    z.int().min(0).max(9_999),
    z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/, "an id: a number or UUID"),
  ])
  .transform(String);

/** `gpus` of a target: how many, or which. */
export const gpusSchema = z.union([z.int().min(0).max(100_000), z.array(gpuIdSchema).min(1).max(1_000)]);

/** What one attempt has of a machine's GPUs. */
export interface GpuShare {
  readonly vendor: GpuVendor;
  /** As the vendor's mask takes them: indices or UUIDs; none = it may use none. */
  readonly ids: readonly string[];
}

/** The vendor's mask as this process found it, set by a scheduler or an administrator; undefined when there is none. */
export function maskOf(
  vendor: GpuVendor,
  environment: Readonly<Record<string, string | undefined>>,
): readonly string[] | undefined {
  const text = environment[masks[vendor]];
  return text === undefined || text.trim() === "" ? undefined : text.split(",").map((id) => id.trim());
}

/** The name of the vendor's mask. */
export function maskName(vendor: GpuVendor): string {
  return masks[vendor];
}

/** The variables that show a program its GPUs and no others. An empty mask hides all of NVIDIA's and AMD's; Intel's shows all, so it is not set. */
export function gpuEnvironment({ vendor, ids }: GpuShare): Readonly<Record<string, string>> {
  if (vendor === "intel" && ids.length === 0) return {};
  const indices = ids.length > 0 && ids.every((id) => /^\d+$/.test(id));
  return {
    [masks[vendor]]: ids.join(","),
    // CUDA's own order is by speed; the indices of tools and drivers are by bus.
    ...(vendor === "nvidia" && indices ? { CUDA_DEVICE_ORDER: "PCI_BUS_ID" } : {}),
  };
}

/** So many of the ids that nobody has; undefined when there are not enough. */
export function takeGpus(
  ids: readonly string[],
  count: number,
  inUse: ReadonlySet<string>,
): readonly string[] | undefined {
  const free = ids.filter((id) => !inUse.has(id));
  return free.length < count ? undefined : free.slice(0, count);
}
