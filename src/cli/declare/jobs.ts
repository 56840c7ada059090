import type { CommandSpec } from "../spec.ts";
import { agentOptions, filterOptions, hubOnlyOptions, idWords, selectionOptions, whereOptions } from "./common.ts";

const group = "Jobs:";
const oneId = { name: "<id>", description: `${idWords}`, complete: "job" } as const;
const manyIds = { name: "[ids...]", description: `several: ${idWords}`, complete: "job" } as const;
const someIds = { name: "<ids...>", description: `one or several: ${idWords}`, complete: "job" } as const;
const attemptOption = { flags: "--attempt <n>", description: "of this attempt; default: the last one" } as const;

export const jobCommands: readonly CommandSpec[] = [
  {
    name: "login",
    group,
    summary: "remember a hub and how to speak to it",
    details:
      "Writes a profile with mode 0600 into the configuration directory. A password is asked for on the terminal or read from a file, never from the command line, and only the token that it buys is kept.",
    options: [
      ...hubOnlyOptions,
      { flags: "--username <name>", description: "user name; the password is asked for" },
      {
        flags: "--password-file <file>",
        description: "file with the password; `-` reads standard input",
        complete: "file",
      },
      { flags: "--token", description: "use an API token instead: asked for, or the first line of standard input" },
      { flags: "--token-file <file>", description: "file with an API token", complete: "file" },
      { flags: "--logout", description: "forget the profile" },
    ],
    examples: [
      { command: "siteagent login --hub https://hub.example.org", what: "ask for user name and password" },
      {
        command: "siteagent login --hub https://hub.example.org --token < token.txt",
        what: "with an API token, from a script",
      },
    ],
    load: () => import("../commands/login.ts"),
  },
  {
    name: "submit",
    group,
    summary: "make a job, or many",
    details:
      "With a workflow, `--help` shows its parameters as the sites tell them: what must be given, defaults, what is allowed, and an example. An app takes its values by name (`-p`), or from the job's config (`-c`).",
    ownHelp: true,
    arguments: [{ name: "[workflow]", description: "id of the workflow, as readqc-1.0.0", complete: "workflow" }],
    options: [
      {
        flags: "-p, --param <key=value>",
        description: "a parameter; key:=json for numbers, lists, true",
        repeat: true,
        complete: "parameter",
      },
      {
        flags: "-c, --config <file|key=value>",
        description: "the job's config: a JSON or YAML file, or one value",
        repeat: true,
        complete: "file",
      },
      {
        flags: "-i, --input <key=file>",
        description: "upload a file to the hub; config.<key> becomes its URL",
        repeat: true,
        complete: "file",
      },
      { flags: "--tag <key=value>", description: "a tag", repeat: true, complete: "tag" },
      { flags: "--name <text>", description: "a name for people" },
      { flags: "--description <text>", description: "more words for people" },
      { flags: "--parent <id>", description: "start after this job has finished", repeat: true, complete: "job" },
      { flags: "--priority <n>", description: "higher first, -1000 to 1000" },
      { flags: "--site <id>", description: "only this site may run it", complete: "site" },
      {
        flags: "--file <jobs.jsonl>",
        description: "one job request (JSON) per line; `-` reads standard input",
        complete: "file",
      },
      { flags: "--idempotency-key <key>", description: "the same key again makes no second job" },
      { flags: "--wait", description: "wait for the end; exit 0 finished, 1 not" },
      {
        flags: "--dry-run",
        description:
          "send nothing; show the request, with --local what this site would do with it (argv, environment names, paths)",
      },
      { flags: "-h, --help", description: "this help; with a workflow its parameters" },
      {
        flags: "--local",
        description: "with --help: ask the site file here (that of --config, or the usual one) instead of a hub",
      },
      ...hubOnlyOptions,
    ],
    examples: [
      { command: "siteagent submit --help readqc-1.0.0", what: "what the workflow takes" },
      {
        command: "siteagent submit readqc-1.0.0 -p sample=S1 -c reads_url=https://data.example.org/S1.fastq.gz",
        what: "one job",
      },
      { command: "siteagent submit --file jobs.jsonl -o name", what: "many; print their ids" },
      { command: "siteagent submit hello-1.0.0 --wait && echo done", what: "in a script" },
    ],
    exits: { 1: "with --wait: a job failed or was cancelled; with --file: some lines were refused" },
    load: () => import("../commands/submit.ts"),
  },
  {
    name: "jobs",
    group,
    summary: "list jobs",
    details:
      "Active jobs, newest first: your own as a submitter, those of everybody as viewer, operator or admin. Columns that are empty for all rows disappear; INFO holds what matters now: site, reason for waiting or failure.",
    options: [
      ...filterOptions,
      { flags: "-a, --all", description: "also jobs that have ended" },
      { flags: "--sort <key>", description: "created, updated or name; -created for descending; default -created" },
      { flags: "--columns <names>", description: "these columns, separated by commas" },
      { flags: "-n, --limit <n>", description: "at most this many, 1 to 1000; default 1000" },
      { flags: "--no-header", description: "no line with titles" },
      ...whereOptions,
    ],
    examples: [
      { command: "siteagent jobs", what: "what is going on" },
      {
        command: "siteagent jobs --all --since 2d --status FAILED",
        what: "what went wrong since the day before yesterday",
      },
      { command: "siteagent jobs --tag project=p1 --columns id,status,info", what: "chosen columns" },
      { command: "siteagent jobs -o json | jq '.jobs[].id'", what: "for programs" },
    ],
    load: () => import("../commands/jobs.ts"),
  },
  {
    name: "job",
    group,
    summary: "the whole story of a job",
    arguments: [oneId],
    options: [...whereOptions],
    examples: [
      { command: "siteagent job last", what: "timeline, attempts, inputs, outputs, failure" },
      { command: "siteagent job nmdc:sys0 -o yaml", what: "all that is known, for programs" },
    ],
    load: () => import("../commands/job.ts"),
  },
  {
    name: "explain",
    group,
    summary: "why a job waits, in words",
    arguments: [oneId],
    options: [...whereOptions],
    examples: [{ command: "siteagent explain last", what: "why, since when, what happens next, what to do" }],
    load: () => import("../commands/explain.ts"),
  },
  {
    name: "logs",
    group,
    summary: "what a job has written",
    details:
      "Standard output of the job goes to standard output, its standard error to standard error. Ctrl-C stops following, not the job. Lines carry no times of their own: `--since` begins with what the hub has received since then, to the minute; with `--local` it leaves out an attempt that had ended by then.",
    arguments: [oneId],
    options: [
      { flags: "-f, --follow", description: "go on until the job has ended" },
      { flags: "--tail <n>", description: "begin with the last n lines" },
      { flags: "--since <when>", description: "begin with what came since: 10m, 6h, a date or a time" },
      attemptOption,
      {
        flags: "--claim <n>",
        description: "of a holder that gave the job back, by the number that is shown then (hub only)",
      },
      { flags: "--stream <name>", description: "only one of the two", choices: ["stdout", "stderr", "both"] },
      ...whereOptions,
    ],
    examples: [
      { command: "siteagent logs last -f", what: "follow" },
      { command: "siteagent logs last --tail 20 --stream stderr", what: "the last lines of standard error" },
      { command: "siteagent logs last --since 10m -f", what: "what came in the last ten minutes, and go on" },
    ],
    load: () => import("../commands/logs.ts"),
  },
  {
    name: "watch",
    group,
    summary: "follow jobs on the screen until they end",
    details:
      "Without a terminal one line per change. With `-o jsonl` one object per event and a closing one; `-o json` and `-o yaml`, which are one document, are refused.",
    arguments: [someIds],
    options: [{ flags: "--timeout <duration>", description: "give up after this long" }, ...whereOptions],
    examples: [{ command: "siteagent watch last", what: "see it go through its states" }],
    exits: { 0: "all finished", 1: "one failed or was cancelled", 124: "time is over" },
    load: () => import("../commands/watch.ts"),
  },
  {
    name: "wait",
    group,
    summary: "wait for jobs to end, without a word",
    arguments: [someIds],
    options: [{ flags: "--timeout <duration>", description: "give up after this long" }, ...whereOptions],
    examples: [{ command: "siteagent wait last --timeout 2h && echo finished", what: "in a script" }],
    exits: { 0: "all finished", 1: "one failed or was cancelled", 124: "time is over" },
    load: () => import("../commands/wait.ts"),
  },
  {
    name: "outputs",
    group,
    summary: "list, show and fetch what a job has made",
    examples: [{ command: "siteagent outputs ls last", what: "names, sizes, digests" }],
    subcommands: [
      {
        name: "ls",
        group,
        summary: "list the output files of a job",
        arguments: [oneId],
        options: [...whereOptions],
        examples: [{ command: "siteagent outputs ls last", what: "names, sizes, digests" }],
        load: () => import("../commands/outputs-ls.ts"),
      },
      {
        name: "cat",
        group,
        summary: "write one output file to standard output",
        arguments: [oneId, { name: "<path>", description: "path or name of the output" }],
        options: [...whereOptions],
        examples: [{ command: "siteagent outputs cat last report.json | jq .", what: "look into a report" }],
        load: () => import("../commands/outputs-cat.ts"),
      },
      {
        name: "get",
        group,
        summary: "fetch output files, digest verified, resuming what is there in part",
        details:
          "From the hub, which holds small files. With `--local`, on the machine and from the account of the agent, from where they lie: there, or at the remote that they were delivered to, with the site's own credentials.",
        arguments: [oneId, { name: "[globs...]", description: "which paths; default: all that can be had" }],
        options: [
          { flags: "--to <directory>", description: "where to; default: the current directory", complete: "file" },
          { flags: "--force", description: "replace files that are there" },
          ...whereOptions,
        ],
        examples: [{ command: "siteagent outputs get last '*.json' --to results", what: "some of them" }],
        exits: { 1: "something that was asked for by name could not be fetched, or nothing at all" },
        load: () => import("../commands/outputs-get.ts"),
      },
    ],
  },
  {
    name: "cancel",
    group,
    summary: "cancel jobs",
    details:
      "The answer per job is `requested` while the site stops it, `done` when nothing had to be stopped. A job is CANCELLED once its processes are proven gone. Where a site has lost its journal, or is gone for good, nobody proves that: an operator ends such a job with `--force` as FAILED with the code ABANDONED, and whatever the site still says of it is refused.",
    arguments: [manyIds],
    options: [
      { flags: "--reason <text>", description: "why; stored and shown" },
      { flags: "--force", description: "end it at the hub, though its site has not said that nothing of it runs" },
      ...selectionOptions,
      ...whereOptions,
    ],
    examples: [
      { command: "siteagent cancel last --reason 'wrong input'", what: "one" },
      { command: "siteagent cancel --all-matching --tag project=p1 --yes", what: "all that match" },
      { command: "siteagent cancel ID --force --reason 'the site is gone'", what: "one whose site does not come back" },
    ],
    exits: { 1: "some could not be cancelled" },
    load: () => import("../commands/cancel.ts"),
  },
  {
    name: "retry",
    group,
    summary: "make new jobs from ended ones",
    arguments: [manyIds],
    options: [
      { flags: "--reason <text>", description: "why; stored and shown" },
      ...selectionOptions,
      ...hubOnlyOptions,
    ],
    examples: [
      { command: "siteagent retry last", what: "one" },
      { command: "siteagent retry --all-matching --status FAILED --since 1d --yes", what: "all that failed today" },
    ],
    exits: { 1: "some could not be tried again" },
    load: () => import("../commands/retry.ts"),
  },
  {
    name: "resubmit",
    group,
    summary: "make a new job from the request of an old one, ended or not",
    details: "`retry` repeats an ended job as it was and remembers which; this one makes an independent job.",
    arguments: [oneId],
    options: [{ flags: "--edit", description: "open the request in $VISUAL or $EDITOR first" }, ...hubOnlyOptions],
    examples: [
      { command: "siteagent resubmit last", what: "the same again" },
      { command: "siteagent resubmit nmdc:sys0abc12 --edit", what: "with other values" },
    ],
    load: () => import("../commands/resubmit.ts"),
  },
  {
    name: "attach",
    group,
    summary: "connect this terminal to a job that runs with the `pty` runtime here",
    details: "Ctrl-] leaves the job running and ends the connection.",
    arguments: [oneId],
    options: [...agentOptions],
    examples: [{ command: "siteagent attach last", what: "type into a running job" }],
    load: () => import("../commands/attach.ts"),
  },
];
