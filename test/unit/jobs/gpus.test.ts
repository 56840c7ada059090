import { describe, expect, it } from "vitest";
import { gpuEnvironment, gpusSchema, maskOf } from "../../../src/jobs/gpus.ts";

describe("the GPUs that an attempt sees", () => {
  it("are named by the vendor's own mask", () => {
    expect(gpuEnvironment({ vendor: "nvidia", ids: ["1", "3"] })).toEqual({
      CUDA_VISIBLE_DEVICES: "1,3",
      CUDA_DEVICE_ORDER: "PCI_BUS_ID",
    });
    expect(gpuEnvironment({ vendor: "nvidia", ids: ["GPU-8932f937"] })).toEqual({
      CUDA_VISIBLE_DEVICES: "GPU-8932f937",
    });
    // HIP_VISIBLE_DEVICES would count among what this leaves: index 3 of one.
    expect(gpuEnvironment({ vendor: "amd", ids: ["3"] })).toEqual({ ROCR_VISIBLE_DEVICES: "3" });
    expect(gpuEnvironment({ vendor: "intel", ids: ["0.1"] })).toEqual({ ZE_AFFINITY_MASK: "0.1" });
  });

  it("are none for an attempt that asked for none, where the vendor's runtime can hide all", () => {
    expect(gpuEnvironment({ vendor: "nvidia", ids: [] })).toEqual({ CUDA_VISIBLE_DEVICES: "" });
    expect(gpuEnvironment({ vendor: "amd", ids: [] })).toEqual({ ROCR_VISIBLE_DEVICES: "" });
    expect(gpuEnvironment({ vendor: "intel", ids: [] })).toEqual({});
  });
});

describe("the GPUs of a target", () => {
  it("are a number, or ids without what would be two", () => {
    expect(gpusSchema.parse(4)).toBe(4);
    expect(gpusSchema.parse([0, "GPU-1", "MIG-a:b"])).toEqual(["0", "GPU-1", "MIG-a:b"]);
    for (const bad of [-1, [], ["0,1"], ["-1"], [" 1"], [1.5], ["a\nb"]]) {
      expect(gpusSchema.safeParse(bad).success, JSON.stringify(bad)).toBe(false);
    }
  });

  it("are those that a scheduler showed this process", () => {
    expect(maskOf("nvidia", { CUDA_VISIBLE_DEVICES: "2, 3" })).toEqual(["2", "3"]);
    expect(maskOf("amd", { CUDA_VISIBLE_DEVICES: "2" })).toBeUndefined();
    expect(maskOf("intel", { ZE_AFFINITY_MASK: "" })).toBeUndefined();
  });
});
