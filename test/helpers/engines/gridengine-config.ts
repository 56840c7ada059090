/** Texts of a private cell: everything below one directory, jobs started and told of at once. */

export interface CellPlace {
  readonly directory: string;
  /** `$SGE_ROOT/$SGE_CELL/common`. */
  readonly common: string;
  readonly host: string;
}

export function bootstrap({ directory, common }: CellPlace): string {
  return `admin_user sgeadmin
default_domain none
ignore_fqdn true
spooling_method classic
spooling_lib libspoolc
spooling_params ${common};${directory}/qmaster
binary_path /usr/lib/gridengine
qmaster_spool_dir ${directory}/qmaster
security_mode none
listener_threads 2
worker_threads 2
scheduler_threads 1
`;
}

/** The package's own configuration with these lines in place of its own. Root may submit: the tests' account. */
export function configuration(packaged: string, { directory }: CellPlace): string {
  return replaced(packaged, {
    execd_spool_dir: `${directory}/execd`,
    mailer: "/bin/true",
    min_uid: "0",
    min_gid: "0",
    load_report_time: "00:00:02",
    execd_params: "ENABLE_ADDGRP_KILL=true",
    // Records are written as soon as a job has ended.
    reporting_params:
      "accounting=true reporting=false flush_time=00:00:15 joblog=false sharelog=00:00:00 accounting_flush_time=00:00:00",
  });
}

export const quickScheduler = {
  schedule_interval: "0:0:1",
  flush_submit_sec: "1",
  flush_finish_sec: "1",
  job_load_adjustments: "NONE",
} as const;

export function queue({ directory, host }: CellPlace): Readonly<Record<string, string>> {
  return {
    qname: "all.q",
    hostlist: host,
    load_thresholds: "NONE",
    // As most centres have it: `-S` decides, not the script's first line.
    shell_start_mode: "posix_compliant",
    shell: "/bin/sh",
    slots: "32",
    pe_list: "smp",
    tmpdir: `${directory}/tmp`,
  };
}

export const parallelEnvironment = `pe_name smp
slots 999
user_lists NONE
xuser_lists NONE
start_proc_args NONE
stop_proc_args NONE
allocation_rule $pe_slots
control_slaves TRUE
job_is_first_task FALSE
urgency_slots min
accounting_summary FALSE
qsort_args NONE
`;

/** The lines of a configuration, some with other values. */
export function replaced(text: string, values: Readonly<Record<string, string>>): string {
  const lines = text.split("\n").map((line) => {
    const name = /^\w+/.exec(line)?.[0] ?? "";
    return values[name] === undefined ? line : `${name} ${values[name]}`;
  });
  return lines.join("\n");
}
