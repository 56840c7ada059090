import { z } from "zod";
import type { AttemptLimits } from "../jobs/resources.ts";
import { batchLimits, batchSchema, schedulerKinds } from "./batch-schema.ts";
import { pilotLimits, pilotSchema } from "./pilot-schema.ts";

/** What the configuration must know of a kind of launcher. */
export interface LauncherKind {
  /** The keys of a target that belong to this launcher; strict. */
  readonly settings: z.ZodType;
  /** Nodes that one attempt can have at most; default: no limit. */
  readonly maxNodes?: number;
  /** What one attempt can have at most, by the target's settings; default: no limit. */
  limits?(settings: unknown): AttemptLimits;
  /** Its attempts run where a scheduler gave them nodes, cores and GPUs of their own; false: on a machine that they share. */
  readonly allocation: boolean;
  /** It starts attempts on the agent's own machine, and nowhere else. */
  readonly here?: boolean;
  /** It packs several attempts onto a node of an allocation, and tells MPI starters on which nodes of one; default: no. */
  readonly packs?: boolean;
  /** Attempts at the same time where the target says nothing; default: the number of processors. */
  readonly slots?: number;
  /** Its targets name a scheduler; default: no. */
  readonly schedules?: boolean;
  /** Runtimes that it cannot start; Docker where it cannot ask the daemon whether a container is dead. */
  readonly lacks?: readonly string[];
}

/** The adapters that there are. Kinds are open strings: a site's own adapters are added before the file is compiled. */
export interface Registries {
  readonly launchers: Readonly<Record<string, LauncherKind>>;
  /** Words that targets may have for `scheduler`. */
  readonly schedulers: readonly string[];
  /** Adapters of the site's own that its hosts may be. */
  readonly hosts: readonly string[];
  /** URL schemes that some transfer adapter serves, without colon. */
  readonly schemes: readonly string[];
}

/** What is built in. */
export const builtInRegistries: Registries = {
  launchers: {
    local: { settings: z.strictObject({}), maxNodes: 1, allocation: false, here: true },
    // Waiting in a queue costs nothing; the scheduler's own limits come on top.
    batch: {
      settings: batchSchema,
      schedules: true,
      allocation: true,
      slots: 100,
      lacks: ["pty", "docker", "zip"],
      limits: (settings) => batchLimits(batchSchema.parse(settings)),
    },
    pilot: {
      settings: pilotSchema,
      schedules: true,
      allocation: true,
      packs: true,
      slots: 1_000,
      lacks: ["pty", "docker", "podman", "zip"],
      limits: (settings) => pilotLimits(pilotSchema.parse(settings)),
    },
  },
  schedulers: schedulerKinds,
  hosts: [],
  schemes: ["file", "globus", "http", "https", "rsync", "s3", "scp", "sftp"],
};
