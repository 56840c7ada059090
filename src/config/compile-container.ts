/** Cross checks of apps that run in containers, and of the images that a site allows. */
import { imageFlaw, imageRuleFlaw } from "../jobs/images.ts";
import { mpiStarters } from "../jobs/mpi.ts";
import { actsOnEngine, type Container, containerOf, mountFlaw } from "../jobs/runtime.ts";
import { hasPlace } from "../jobs/template.ts";
import { checkTemplate } from "../jobs/template-check.ts";
import type { AppSettings, Compiling } from "./compiling.ts";
import type { SiteHost, SiteRemote, SiteTarget } from "./types.ts";

export interface Places {
  readonly targets: Readonly<Record<string, SiteTarget>>;
  readonly hosts: Readonly<Record<string, SiteHost>>;
  readonly remotes: Readonly<Record<string, SiteRemote>>;
}

export function checkImageRules({ settings, loaded }: Compiling): void {
  for (const [index, entry] of settings.policy.images.entries()) {
    const flaw = imageRuleFlaw(entry);
    if (flaw === undefined) continue;
    const allowed = "registry.example.org/path/, registry.example.org/path/name, /directory/, sha256:…";
    loaded.report.add({ path: ["policy", "images", index], message: `'${entry}' ${flaw}`, value: entry, allowed });
  }
}

export function checkContainer(
  compiling: Compiling,
  path: readonly PropertyKey[],
  app: AppSettings,
  places: Places,
): void {
  const container = containerOf(app.runtime);
  if (!container) return;
  const at = [...path, "runtime", container.engine];
  checkImage(compiling, at, app, container);
  checkPlace(compiling, [...path, "runtime"], app, places);
  if (container.engine === "apptainer") return;
  checkRanks(compiling, [...path, "mpi"], app, container);
  for (const [name, text] of Object.entries(app.environment)) {
    if (!actsOnEngine(name) || !hasPlace(text)) continue;
    compiling.loaded.report.add({
      path: [...path, "environment", name],
      message: `'${name}' also means something to ${container.spec.program} itself, so its value is written into an argument`,
      value: name,
      allowed: "a value without places",
    });
  }
}

function checkImage(
  { loaded: { report }, settings }: Compiling,
  at: readonly PropertyKey[],
  app: AppSettings,
  { engine, spec }: Container,
): void {
  const path = [...at, "image"];
  const problems = checkTemplate(spec.image, "image", app);
  for (const problem of problems) report.add({ ...problem, path });
  if (problems.length > 0) return;
  const { images } = settings.policy;
  if (!hasPlace(spec.image)) {
    const flaw = imageFlaw(spec.image, engine, { allowed: images, chosen: false });
    if (flaw) report.add({ path, value: spec.image, ...flaw });
  } else if (images.length === 0) {
    const message = "a job would choose the image, and policy.images allows none";
    report.add({ path, message, value: spec.image, allowed: "an image without places, or policy.images" });
  }
}

/** Where the job's directories can be mounted. */
function checkPlace(
  { loaded: { report } }: Compiling,
  path: readonly PropertyKey[],
  app: AppSettings,
  { targets, hosts }: Places,
): void {
  const target = Object.hasOwn(targets, app.target) ? targets[app.target] : undefined;
  if (!target) return;
  const workdir = hosts[target.host]?.workdir;
  const flaw = workdir === undefined ? undefined : mountFlaw(workdir);
  if (flaw !== undefined) {
    const message = `the workdir '${workdir}' of host '${target.host}' ${flaw}: it cannot be mounted into a container`;
    report.add({ path, message, allowed: "another workdir, or no container" });
  }
}

/** Podman and Docker hold the starter and all ranks in one container. */
function checkRanks(
  { loaded: { report } }: Compiling,
  path: readonly PropertyKey[],
  app: AppSettings,
  { engine }: Container,
): void {
  const starter = app.mpi?.starter;
  if (starter === undefined) return;
  const among = `the starter runs inside the container of ${engine}`;
  if (typeof starter === "string" && mpiStarters[starter].allocation) {
    report.add({
      path: [...path, "starter"],
      message: `${among}, where '${starter}' reaches no scheduler`,
      value: starter,
      allowed: "a starter of the image, or apptainer",
    });
  } else if (app.resources.nodes > 1) {
    report.add({
      path,
      message: `${among}, on one node of '${app.resources.nodes}'`,
      allowed: "apptainer, or one node",
    });
  }
}
