import { posix } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { imageFlaw, imageRuleFlaw } from "../../../src/jobs/images.ts";
import type { ContainerEngine } from "../../../src/jobs/runtime.ts";
import { fuzz, fuzzing } from "../../helpers/fuzz.ts";

const digest = `sha256:${"0123456789abcdef".repeat(4)}`;
const allowed = ["registry.example.org/bio/", "localhost:5000/tools/qc", "/opt/images/", "/opt/one.sif", digest];

function judge(image: string, engine: ContainerEngine = "podman", chosen = true): string | undefined {
  return imageFlaw(image, engine, { allowed, chosen })?.message;
}

describe("policy.images", () => {
  it.each<[string, ContainerEngine]>([
    ["registry.example.org/bio/readqc:1.2", "podman"],
    ["registry.example.org/bio/deep/er/readqc", "docker"],
    ["localhost:5000/tools/qc", "podman"],
    ["localhost:5000/tools/qc:2", "podman"],
    [`localhost:5000/tools/qc:2@${digest}`, "podman"],
    [`other.example.org/x@${digest}`, "docker"],
    ["docker://registry.example.org/bio/readqc:1.2", "apptainer"],
    ["/opt/images/readqc.sif", "apptainer"],
    ["/opt/one.sif", "apptainer"],
  ])("allows %s (%s)", (image, engine) => expect(judge(image, engine)).toBeUndefined());

  it.each<[string, ContainerEngine, RegExp]>([
    ["registry.example.org/biology/x", "podman", /is not allowed/],
    ["registry.example.org.evil.org/bio/x", "podman", /is not allowed/],
    ["localhost:5000/tools/qc-evil", "podman", /is not allowed/],
    ["localhost:5000/tools/qc/evil", "podman", /is not allowed/],
    ["registry.example.org/bio/../evil", "podman", /is not an image/],
    ["registry.example.org/bio//evil", "podman", /is not an image/],
    ["readqc", "docker", /does not name its registry/],
    ["bio/readqc", "docker", /does not name its registry/],
    ["-v=/:/host", "docker", /is not an image/],
    ["docker-archive:/tmp/x.tar", "podman", /does not name its registry|is not an image/],
    ["oci:/tmp/x", "podman", /is not an image/],
    ["/opt/images/../../tmp/x.sif", "apptainer", /is not an image/],
    ["/opt/images2/x.sif", "apptainer", /is not allowed/],
    ["/opt/one.sif:x", "apptainer", /is not allowed/],
    ["/opt/images/x.sif", "podman", /is not an image/],
    ["instance://x", "apptainer", /is not an image/],
    ["x.sif", "apptainer", /is not an image/],
    ["oras://registry.example.org/bio/x", "apptainer", /is not allowed/],
    ["registry.example.org/bio/x y", "podman", /is not an image/],
    ["", "podman", /is not an image/],
  ])("refuses %s (%s)", (image, engine, message) => expect(judge(image, engine)).toMatch(message));

  it("lets the administrator name any image where there is no list, and a job none", () => {
    const free = { allowed: [], chosen: false };
    expect(imageFlaw("ubuntu", "docker", free)).toBeUndefined();
    expect(imageFlaw("/tmp/x.sif", "apptainer", free)).toBeUndefined();
    expect(imageFlaw("registry.example.org/x", "docker", { ...free, chosen: true })).toBeDefined();
  });

  it.each([
    ...allowed,
    "docker://registry.example.org/bio/",
    "oras://registry.example.org/bio/",
    "registry.example.org:5000/",
    "registry.example.org/",
  ])("takes the rule %s", (rule) => expect(imageRuleFlaw(rule)).toBeUndefined());

  it.each(["registry.example.org", "ubuntu", "bio/", "sha256:12", "*", "/opt/../x/", "https://x.example.org/", "/"])(
    "refuses the rule %s",
    (rule) => expect(imageRuleFlaw(rule)).toBeDefined(),
  );

  it("G3: allows nothing that leaves what a rule names, whatever a job writes", fuzzing, () => {
    const part = fc.oneof(
      fc.constantFrom("..", ".", "", "/", ":", "@", "-", " ", "%2e", digest, "a"),
      fc.string({ maxLength: 5 }),
    );
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 6 }),
        fc.constantFrom<ContainerEngine>("podman", "apptainer"),
        (parts, engine) => {
          const prefix = engine === "podman" ? "registry.example.org/bio/" : "/opt/images/";
          const image = prefix + parts.join("");
          if (judge(image, engine) !== undefined) return;
          const path = engine === "podman" ? image.replace(/@.*$/, "").replace(/:[^/]*$/, "") : image;
          expect(posix.normalize(path)).toBe(path);
          expect(image).toMatch(/^[\w./:@-]+$|^\/opt\/images\//);
        },
      ),
      fuzz(500),
    );
  });
});
