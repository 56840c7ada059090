import { shellQuoted } from "../../common/shell.ts";
import { renderScript } from "../script.ts";
import type { SubmitRequest } from "../types.ts";
import { directives } from "./directives.ts";

const variables = {
  task: "${SLURM_ARRAY_TASK_ID:-0}",
  // Each task of an array has a number of its own, too; ours is that of the array.
  nativeId: "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}",
  restarts: "${SLURM_RESTART_COUNT:-0}",
};

/** The whole job script. Pure. @throws Fault INVALID for values that cannot stand in one. */
export function renderSlurm(request: SubmitRequest): string {
  const prologue = [
    // With the first one set, srun would start its steps with an empty environment; the others are the submit command's.
    "unset SLURM_EXPORT_ENV SLURM_JWT LC_ALL TZ",
    // Where the directory is missing on a node Slurm runs the script in /tmp.
    `cd ${shellQuoted(request.directory)} || exit 1`,
  ];
  return renderScript({ directives: directives(request), variables, prologue, body: request.body });
}
