/**
 * What can go wrong, and what must happen then. A test proves an entry when its title (or its describe's) begins with the number:
 * `it("A6: waits as long as Retry-After says")`, `describe("A4, A5: …")`. `npm run generate` makes docs/proof.md of both.
 */
export interface FaultToProve {
  /** Letter of the area and number; `BAL-` what Balsam, `TAP-` what Tapis Jobs is known to do wrong. */
  readonly id: string;
  readonly fault: string;
  readonly expected: string;
  /** Why no test can exist here: the fault cannot occur in this design. */
  readonly cannotOccur?: string;
}

/** Titles of the areas by the letters of their numbers, in the order of the page. */
export const areas: Readonly<Record<string, string>> = {
  A: "Central API and network",
  B: "Crashes and restarts",
  C: "Disk and memory",
  D: "Processes",
  E: "Batch schedulers",
  G: "Input, policy, secrets",
  H: "Time, host, operator",
  "BAL-": "What Balsam is known to do wrong",
  "TAP-": "What Tapis Jobs is known to do wrong",
};

const fault = (id: string, what: string, expected: string, cannotOccur?: string): FaultToProve => ({
  id,
  fault: what,
  expected,
  ...(cannotOccur === undefined ? {} : { cannotOccur }),
});

export const faultList: readonly FaultToProve[] = [
  fault(
    "A1",
    "Central is down when the agent starts",
    "ready, adopts, follows, keeps reports; claims when it returns; no restart loop",
  ),
  fault(
    "A2",
    "Central is down for a day while 1,000 jobs run",
    "all ends are recorded and delivered in order within 60 s of the return; memory flat",
  ),
  fault(
    "A3",
    "The answer to a claim is lost after central committed it",
    "the agent finds its own claim again; runs once",
  ),
  fault(
    "A4",
    "The answer to a claim comes twice, or late after a release",
    "a known job changes nothing; a stale epoch is ignored",
  ),
  fault(
    "A5",
    "A report is applied, its answer lost",
    "sent again with the same number; the duplicate counts as acknowledged",
  ),
  fault(
    "A6",
    "429 with Retry-After of 120, a date, -1, 1e9, or text",
    "waits 120–144 s; until the date; as if absent; at most 15 min; as if absent",
  ),
  fault(
    "A7",
    "503 for all agents, then the return",
    "waits spread by full jitter: at most twice the normal rate in the first interval",
  ),
  fault(
    "A8",
    "200 with a page of HTML (captive portal, login of a proxy)",
    "a transport error; nothing is cancelled or acknowledged",
  ),
  fault("A9", "404 with HTML for a running job, from a misrouted balancer", "tried again; the job goes on"),
  fault(
    "A10",
    "404 with central's own error body",
    "shown as disowned; the job goes on; its reports are kept and offered again",
  ),
  fault(
    "A11",
    "401 after the credential expired in mid-run",
    "one refresh; if that fails no claims, jobs go on, alarm; heals when the secret changes",
  ),
  fault(
    "A12",
    "409 stale epoch on a write",
    "fenced: no more writes or signals for it; its directory with the evidence is kept",
  ),
  fault(
    "A13",
    "A half-open connection (a firewall drops silently)",
    "deadline per call, new connection; other traffic is not held up",
  ),
  fault("A14", "An answer of one byte a second", "a total deadline ends it"),
  fault(
    "A15",
    "An answer of 2 GB, deep JSON, doubled keys, `__proto__` keys",
    "limits of size and depth; refused; memory flat",
  ),
  fault(
    "A16",
    "Unknown fields and words of a newer central",
    "unknown fields ignored; an unknown order is not carried out and answered `unsupported`",
  ),
  fault("A17", "An order to cancel a job that is not held", "answered `not-held`; nothing else"),
  fault("A18", "The same order to cancel a hundred times", "one cancel, the same answer"),
  fault(
    "A19",
    "Central says a job is ours that the journal does not know",
    "evidence is looked for; nothing is started unless assigned anew",
  ),
  fault("A20", "Central forgets a job that runs here", "the job goes on; reports are kept; shown to the administrator"),
  fault("A21", "Renewals fail for less than the lease", "tried again; no change of state"),
  fault(
    "A22",
    "Renewals starved by jobs that use all of the CPU",
    "a confirmed claim has no lease to renew; claims are confirmed and orders carried out within half a lease",
  ),
  fault(
    "A23",
    "The agent hangs while its process lives",
    "unbound claims fall back; the watchdog restarts it; jobs are adopted",
  ),
  fault("A30", "The long poll is connected and silent", "polling goes on at its own pace; only latency suffers"),
  fault(
    "A33",
    "An assignment for another site, out of date or replayed",
    "central does not confirm it, and before that nothing of it begins; a line in the log",
  ),
  fault("B1", "Killed between the intent of a claim and the call", "on start read back; what is not ours is dropped"),
  fault("B2", "Killed after the answer to a claim, before its record", "on start read back; what is ours goes on"),
  fault("B3", "Killed after the intent of a start, before the start", "looked for, proven absent, started once"),
  fault("B4", "Killed in the middle of a start", "looked for; never started blindly"),
  fault("B5", "Killed after the start, before its record", "found and adopted"),
  fault("B6", "Killed around the start of the recorder", "start guard and identity tell"),
  fault(
    "B7",
    "Killed in the middle of a record, at each byte",
    "the torn tail is cut; the state is that of the last whole record",
  ),
  fault("B8", "Killed between a snapshot and its rename", "the older generation is used"),
  fault("B9", "Killed after an end was recorded, before its report", "the outbox sends it"),
  fault("B10", "Killed after a report, before its acknowledgement", "the duplicate counts as acknowledged"),
  fault(
    "B11",
    "Killed in the middle of a cancel, a clean-up, a transfer",
    "goes on; only paths of the job are touched",
  ),
  fault("B12", "A job whose handling kills the agent", "quarantined after two deaths; the others are served"),
  fault(
    "B13",
    "100 kills in 10 minutes",
    "no growth, no duplicates, jobs unharmed; 8 kills in a row in the tests, 500 of agent, runner and hub in `npm run prove -- random`",
  ),
  fault(
    "B14",
    "The machine loses power",
    "as a kill, with what was not synced lost: nothing was reported that is not on disk",
  ),
  fault("B15", "The machine boots", "the boot id differs: attempts ended, cause `node`"),
  fault(
    "B16",
    "The recorder is killed, the command lives",
    "still running; after its end `status-lost`, never success",
  ),
  fault("B17", "Agent and recorder are killed, the command lives", "found by its identity and followed"),
  fault("B18", "The pid belongs to a stranger", "never signalled; the attempt has ended"),
  fault("B19", "Restart while very many jobs are followed", "all followed again within 5 s; one question"),
  fault(
    "C1",
    "The journal's disk is full",
    "ballast freed; ends and acknowledgements are written; no claims; alarm; heals alone",
  ),
  fault(
    "C2",
    "The disk of a job's directory is full",
    "the job fails by its own error; the agent goes on; the exit record waits",
  ),
  fault("C3", "Inodes or quota are used up", "as a full disk, named correctly"),
  fault(
    "C4",
    "An input/output error at a sync",
    "no further side effects; exit 74; the next start reads what is there",
  ),
  fault("C5", "The state directory is read-only", "exit 74 or 78 with the remedy; jobs live"),
  fault(
    "C6",
    "The state directory's file system hangs",
    "side effects stop, the agent says so; no restart loop; no double start",
  ),
  fault(
    "C7",
    "The journal is damaged in the middle, empty, rubbish, of another agent",
    "salvage; claims only when done; never stuck",
  ),
  fault(
    "C8",
    "The journal has grown far beyond its limit (compaction failed)",
    "opens and compacts: 100 MB within seconds; 1 GB took 35–51 s and 4 GB of memory on a busy machine",
  ),
  fault(
    "C13",
    "Somebody deletes the attempt directory of a running job",
    "noticed; followed by identity; evidence missing; never success by guess",
  ),
  fault("D1", "The command ignores TERM", "KILL after the grace; the cause is kept"),
  fault(
    "D2",
    "The command makes daemons with setsid or double fork",
    "they die with the control group; without one found by descent and mark; else reported",
  ),
  fault("D3", "A fork bomb", "bounded; killed by control group; the agent lives"),
  fault("D4", "A grandchild holds the output open", "the end is reported at the exit, not at the close"),
  fault("D5", "A process in uninterruptible sleep", "`unkillable` is shown; its slot stays taken"),
  fault("D6", "The command exits in the very moment of the cancel", "one end; an exit recorded before the signal wins"),
  fault("D7", "A cancel before there is a process group", "no escape"),
  fault("D8", "Exit 0 with the mark of a timeout", "`timeout`"),
  fault("D9", "Exit codes 125–127, 128+n, 255", "shown raw; `exit 137` is not called SIGKILL without proof"),
  fault(
    "D10",
    "Command missing, not executable, wrong architecture, interpreter missing",
    "cause `launch` with a clear text",
  ),
  fault("D11", "Arguments or environment too large", "refused when planned, with sizes"),
  fault(
    "D12",
    "A job writes to the agent's files or kills the agent (same account)",
    "a documented limit; files 0600; noticed and restarted",
  ),
  fault("D13", "The command closes its output, leaves and deletes its directory", "no effect"),
  fault("D14", "The job is stopped by SIGSTOP", "shown; limits run"),
  fault("E4", "The controller is down", "unknown; no job changes; the interval grows"),
  fault(
    "E13",
    "Ids start again, or the database was reset: our id is somebody else's now",
    "name and time of submission must match; else it is not ours",
  ),
  fault("G1", "Command, source or destination outside of the policy", "refused with the name of the rule"),
  fault("G2", "Hook missing, hanging, failing", "the job alone fails or waits; closed"),
  fault("G3", "Injection through names, accounts, line ends in values", "refused by grammar"),
  fault(
    "G4",
    "A secret in a log, journal, argument, environment, report, archive, table, answer or crash text, however it is written there",
    "none is found: every secret of the tests is marked and looked for, also as JSON, URLs, base64 and hexadecimal write it",
  ),
  fault("G5", "Token file readable by others", "refused"),
  fault(
    "G7",
    "A job reads the environment, arguments and descriptors of agent and runner",
    "finds no secret; files of the same account it can read: give the agent an account of its own",
  ),
  fault("G8", "Terminal escapes and forged log lines in output", "escaped in the agent's logs"),
  fault(
    "G11",
    "Fields missing, of wrong type, NaN, negative, huge, with unicode tricks",
    "an error that names the place; no side effect",
  ),
  fault("H1", "The wall clock jumps an hour, or to 1970", "no lease, limit or order changes"),
  fault(
    "H2",
    "The process is frozen for ten minutes",
    "a claim that fell back meanwhile is never begun; a confirmed one has no lease to lose and is followed on",
  ),
  fault("H3", "A time limit of more than 30 days", "exact; does not fire at once"),
  fault("H7", "TERM twice in 10 ms", "one orderly stop"),
  fault("H8", "A stop during start or salvage", "clean; the next start goes on"),
  fault("H10", "A bad configuration at a reload", "the old one stays; the error is shown"),
  fault("H11", "The configuration loses the target of running jobs", "followed to the end; no new ones"),
  fault("H12", "An agent by hand beside the service", "the second refuses and names the first"),
  fault(
    "H16",
    "The configuration is broken at a cold start while jobs are held",
    "the last good copy is used to follow them; no claims; alarm",
  ),
  fault(
    "BAL-1",
    "Bulk update with unequal fields loses fields",
    "each job ends with exactly its fields, or an error of its own",
  ),
  fault(
    "BAL-2",
    "Updates less than a second apart are not sent",
    "jobs at 10/s: each state is visible at central within 2 s",
  ),
  fault("BAL-3", "Launcher killed: finished work is offered again", "no finished attempt runs again, none is lost"),
  fault(
    "BAL-4",
    "Children are not released, lost, or wait for ever",
    "parents finishing, finished, failed, deleted: each ends in a defined state",
  ),
  fault("BAL-5", "Any transition is accepted", "each pair outside of the table is refused with a reason"),
  fault("BAL-6", "A hook that sets no state blocks the job", "a defined default"),
  fault("BAL-7", "One bad job hangs the pilot", "one bad job among 1,000: the other 999 finish"),
  fault("BAL-7a", "Processes survive the kill while the job is tried again", "none is alive when the attempt is over"),
  fault("BAL-8", "A poisoned row stops the whole site", "refused when made; does not stop the others"),
  fault("BAL-9", "An exit or hang in a hook stops the site", "only its job is touched; health shows it"),
  fault(
    "BAL-10",
    "After a kill of the agent: orphans, start and stop refuse",
    "restarts at once, one holder, running jobs adopted",
  ),
  fault("BAL-11", "Tried again for ever", "attempts are limited by cause"),
  fault("BAL-12", "Writes of an expired holder are accepted", "a stale epoch is refused"),
  fault("BAL-13", "An app the site cannot serve fails all its jobs", "apps are data; said before claiming"),
  fault(
    "BAL-14",
    "4xx tried for 34 minutes, wrong password loops",
    "4xx fails at once; 429 and 5xx back off with jitter and a limit",
  ),
  fault("BAL-15", "Local pilots are never linked", "local attempts are identified by their own record"),
  fault("BAL-16", "No path: an empty transfer", "an empty list of files is an error"),
  fault(
    "BAL-17",
    "A failed transfer leaves the job waiting for ever",
    "the job fails or is tried again, with the cause on it",
  ),
  fault("BAL-18", "The lease's thread dies silently, work goes on", "loss of the lease stops what it covers"),
  fault("BAL-19", "Half a GPU is none", "fractions of GPUs are placed, or refused with a clear text"),
  fault("BAL-20", "Compound commands are split", "a command is one argument vector"),
  fault(
    "BAL-21",
    "An outage of the API idles the site, limits unwatched",
    "work goes on, limits hold, no report is lost",
  ),
  fault("BAL-22", "An absent section switches on", "off unless asked for"),
  fault("BAL-23", "Deleting a leased job answers 204 and does nothing", "cancelled with its holder; the answer tells"),
  fault("BAL-24", "The exit code is only in an event", "exit code and signal are fields"),
  fault("BAL-25", "A client that hangs up leaves a transaction open", "1,000 aborted requests leave none open"),
  fault("BAL-26", "Output is truncated at each try", "one output for each attempt"),
  fault("BAL-27", "The agent exits at token expiry", "credentials are renewed without a restart"),
  fault("BAL-28", "One unforeseen exception ends a module, unseen", "each loop is supervised and shown"),
  fault(
    "BAL-29",
    "The lease is given back before the processes are stopped",
    "released only after proof of death; late writes fenced",
  ),
  fault("BAL-30", "The same request twice makes two jobs", "one idempotency key, one job, the same answer"),
  fault(
    "TAP-1",
    "A submit that is repeated makes two jobs",
    "100 parallel posts with one key: one job; another body: a conflict",
  ),
  fault("TAP-2", "A launch runs twice after a restart", "intent first; killed at each step of a launch: one start"),
  fault(
    "TAP-3",
    "A lost message leaves a job stuck",
    "state and event in one transaction; the hub killed before and after each of them, none stuck",
  ),
  fault("TAP-4", "Rows without owner wait for ever", "found and repaired or reported"),
  fault("TAP-5", "Restarts extend deadlines", "absolute times; restarts do not extend them"),
  fault("TAP-6", "Missing exit status counts as success", "unknown is its own outcome, never success"),
  fault("TAP-7", "Shown cancelled while it still runs", "cancelled only when proven gone; in every state"),
  fault("TAP-8", "Results are left behind on timeout and failure", "archived by policy on every end"),
  fault(
    "TAP-9",
    "Transfers unverified, empty listing is complete",
    "size and digest; an empty required source is an error",
  ),
  fault("TAP-10", "Two workers pass a quota together", "counted atomically"),
];
