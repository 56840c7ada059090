/** Which container images may run: how an image is written, and whether a site's `policy.images` allows it. Pure; nothing is asked. */
import type { ContainerEngine } from "./runtime.ts";

const digest = /^sha256:[0-9a-f]{64}$/;
/** [registry[:port]/]path[:tag][@sha256:…] */
const reference =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d{1,5})?\/)?[a-z0-9][a-z0-9._/-]*(?::[A-Za-z0-9_][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$/;

const allowedForms = {
  apptainer: "an absolute path, docker://, oras:// or library:// and a reference",
  podman: "registry/path/name:tag@sha256:…",
  docker: "registry/path/name:tag@sha256:…",
} as const satisfies Record<ContainerEngine, string>;

export interface ImageFlaw {
  readonly message: string;
  readonly allowed: string;
}

/**
 * Why an image cannot be used, or undefined. `chosen`: the job had a say in it; then it names its registry itself, for which registry a
 * short name means depends on the machine. `allowed` as in the site file; empty = what the administrator wrote may run, nothing that a job chose.
 */
export function imageFlaw(
  image: string,
  engine: ContainerEngine,
  { allowed, chosen }: { readonly allowed: readonly string[]; readonly chosen: boolean },
): ImageFlaw | undefined {
  const place = placeOf(image, engine);
  if (place === undefined) return { message: `'${image}' is not an image`, allowed: allowedForms[engine] };
  if (chosen && !place.startsWith("/") && !namesRegistry(place)) {
    return { message: `'${image}' does not name its registry`, allowed: "registry.example.org/path/name:tag" };
  }
  if (allowed.length === 0 && !chosen) return undefined;
  if (allowed.some((entry) => covers(withoutDocker(entry), place))) return undefined;
  return { message: `'${image}' is not allowed by policy.images`, allowed: allowed.join(", ") || "nothing" };
}

/** Why an entry of `policy.images` would allow nothing, or more than it seems to; undefined when it is good. */
export function imageRuleFlaw(entry: string): string | undefined {
  const plain = withoutDocker(entry);
  if (digest.test(plain)) return undefined;
  const name = plain.replace(/^(?:oras|library):\/\//, "").replace(/\/$/, "");
  if (name.startsWith("/")) return isPlain(name) ? undefined : "is not a plain path";
  if (!reference.test(name) && !/^[A-Za-z0-9][A-Za-z0-9.-]*(?::\d{1,5})?$/.test(name))
    return "is not an image, a registry or a digest";
  if (!isPlain(`/${name}`)) return "is not a plain path";
  return namesRegistry(`${name}/`) && plain.includes("/")
    ? undefined
    : "does not name a registry and what lies below it";
}

/** What an image is compared by: a path, a reference, or a reference with its own scheme. */
function placeOf(image: string, engine: ContainerEngine): string | undefined {
  if (engine !== "apptainer") return isReference(image) || digest.test(image) ? image : undefined;
  if (image.startsWith("/")) return isPlain(image.replace(/\/$/, "")) ? image : undefined;
  const [, scheme, name = ""] = /^(docker|oras|library):\/\/(.*)$/s.exec(image) ?? [];
  if (scheme === undefined || !isReference(name)) return undefined;
  return scheme === "docker" ? name : image;
}

function isReference(name: string): boolean {
  return reference.test(name) && isPlain(`/${name.replace(/@.*$/, "").replace(/:[^/]*$/, "")}`);
}

function isPlain(path: string): boolean {
  const steps = path.split("/").slice(1);
  return !/[\p{Cc}\\]/u.test(path) && !steps.some((step) => step === "" || step === "." || step === "..");
}

function namesRegistry(place: string): boolean {
  const [host = "", ...rest] = place.replace(/^(?:oras|library):\/\//, "").split("/");
  return rest.length > 0 && (/[.:]/.test(host) || host === "localhost");
}

function withoutDocker(entry: string): string {
  return entry.replace(/^docker:\/\//, "");
}

/** An entry stands for itself, a name for all its tags and digests, one that ends with `/` for all below it, a digest for all that have it. */
function covers(entry: string, place: string): boolean {
  if (digest.test(entry)) return place === entry || place.endsWith(`@${entry}`);
  if (entry.endsWith("/")) return place.startsWith(entry);
  return place === entry || (!entry.startsWith("/") && [":", "@"].some((sign) => place.startsWith(`${entry}${sign}`)));
}
