/** Variables of jobs and of persons' settings by which schedulers' commands are changed; what locates a scheduler is named by its adapter. */
const foreign =
  /^(?:SLURM|SLURMD|SLURMSTEPD|SBATCH|SALLOC|SRUN|SQUEUE|SACCT|SCANCEL|SCONTROL|SINFO|PBS|PBSD|QSTAT|MOM|SGE|JOB|TASK|LSB|LS|LSF|BSUB|FLUX|PMI|PMI2|PMIX|XDG|DBUS)_/;
const foreignWhole = new Set(["ENVIRONMENT", "JOB_ID", "NHOSTS", "NQUEUES", "NSLOTS", "QUEUE", "REQUEST", "RESTARTED"]);

/**
 * The environment of a scheduler's commands: what the site file gives, without what an enclosing job or a person's settings may have put
 * there (the reference for submit commands: a job that is submitted from inside another inherits its pinning and its options), but with
 * `keep`, which locates the scheduler. English, and times in UTC.
 */
export function commandEnvironment(
  given: Readonly<Record<string, string>>,
  keep: readonly string[],
): Readonly<Record<string, string>> {
  const entries = Object.entries(given).filter(
    ([name]) => keep.includes(name) || (!foreign.test(name) && !foreignWhole.has(name)),
  );
  return { ...Object.fromEntries(entries), LC_ALL: "C", TZ: "UTC" };
}
