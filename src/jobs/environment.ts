/** The environment of attempts and hooks, as far as it is a rule: which variables we set, which nobody may hand on. */

/** What siteagent sets for each attempt; the manual lists it. */
export const attemptVariables = {
  SITEAGENT_APP: "name of the app",
  SITEAGENT_WORKFLOW: "the workflow that the job asked for",
  SITEAGENT_ATTEMPT: "number of the attempt: 1, 2, …",
  SITEAGENT_ATTEMPT_TOKEN: "the attempt's token, as schedulers and process lists show it",
  SITEAGENT_JOB_TOKEN: "the job's token on this site; the same in all attempts",
  SITEAGENT_JOB_DIR: "the job's directory",
  SITEAGENT_IN_DIR: "where the inputs lie",
  SITEAGENT_WORK_DIR: "where the command runs and outputs are looked for; shared by all attempts",
  SITEAGENT_ATTEMPT_DIR: "evidence of this attempt; to read, not to write",
  SITEAGENT_NODES: "nodes of the attempt",
  SITEAGENT_RANKS_PER_NODE: "ranks on each node",
  SITEAGENT_THREADS_PER_RANK: "threads of each rank; OMP_NUM_THREADS has the same",
  SITEAGENT_CORES: "cores on each node",
  SITEAGENT_GPUS: "GPUs on each node",
  SITEAGENT_GPU_IDS: "ids of GPUs that are the attempt's alone, if siteagent gives them out",
  SITEAGENT_MEMORY_BYTES: "memory on each node, if the app asks for some",
  SITEAGENT_WALLTIME_S: "time limit in seconds, if there is one",
} as const;

/** What everything starts with, besides `attemptVariables`. */
export const basicVariables = {
  PATH: "agent.path of the site file",
  HOME: "home directory of the agent's account",
  USER: "the agent's account; LOGNAME has the same",
  LANG: "C.UTF-8",
  TMPDIR: "a directory of the job, removed with it",
  TZ: "the agent's TZ, else UTC",
  OMP_NUM_THREADS: "threads of each rank",
} as const;

const never: readonly RegExp[] = [
  /^SITEAGENT_/,
  /^(NOTIFY_SOCKET|INVOCATION_ID|CREDENTIALS_DIRECTORY|JOURNAL_STREAM|MAINPID|MANAGERPID|SYSTEMD_EXEC_PID)$/,
  /^(WATCHDOG|LISTEN)_/,
  /^(NODE_OPTIONS|NODE_EXTRA_CA_CERTS|NODE_CHANNEL_FD|SSH_AUTH_SOCK|BASH_ENV|ENV|PYTHONSTARTUP|SHELLOPTS|BASHOPTS|IFS|PS4)$/,
  /^(LD_|BASH_FUNC_|SLURM_|PBS_|SGE_|AWS_SECRET|AWS_SESSION)/,
];

/** True for variables of the agent that no attempt may inherit, whatever the site's allow list says. */
export function isNeverInherited(name: string): boolean {
  return never.some((pattern) => pattern.test(name));
}

/** True for variables that no app may set by itself: they are ours. */
export function isReservedVariable(name: string): boolean {
  return name.startsWith("SITEAGENT_");
}
