/** Running commands. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { RunRequest } from "../../hosts/types.ts";
import { contains, equal, like, rejects } from "../check.ts";
import type { Case } from "../suite.ts";
import { type HostHarness, run } from "./commands.ts";

/** Words and signs that shells, protocols and line readers trip over. */
const odd = "a b; $(touch pwned) `id` 'x' \"y\" * ? [a] {b,c} ~ # ! % \\n \\ \t | < > & é Ł \u0081\u0088 -n --";

interface RefusedCommand {
  readonly what: string;
  readonly change: Partial<RunRequest>;
  readonly message: RegExp;
}

const refusedCommands: readonly RefusedCommand[] = [
  {
    what: "a program that is not there",
    change: { argv: ["no-such-program"] },
    message: /'no-such-program' could not be started: ENOENT/,
  },
  { what: "a path that is not there", change: { argv: ["/no/such/program"] }, message: /ENOENT/ },
  {
    what: "a directory that is not there",
    change: { cwd: "/no/such/directory" },
    message: /directory '\/no\/such\/directory' does not exist/,
  },
  { what: "a file that is no program", change: { argv: ["/etc/passwd"] }, message: /EACCES/ },
  { what: "an argument with NUL", change: { argv: ["/bin/echo", "a\0b"] }, message: /ERR_INVALID_ARG_VALUE/ },
  {
    what: "arguments that Linux does not take",
    change: { argv: ["/bin/echo", "x".repeat(200_000)] },
    message: /E2BIG/,
  },
];

export const runs: readonly Case<HostHarness>[] = [
  {
    name: "gives both streams and the exit code",
    run: async (harness) => {
      equal(await run(harness, "echo out; echo err >&2; exit 3"), {
        exitCode: 3,
        signal: undefined,
        stdout: "out\n",
        stderr: "err\n",
        truncated: false,
        timedOut: false,
      });
    },
  },

  ...[0, 1, 126, 127, 137, 153, 255].map((code) => ({
    name: `gives the exit code ${code} as it is`,
    run: async (harness: HostHarness) => {
      like(await run(harness, `exit ${code}`), { exitCode: code, signal: undefined, timedOut: false });
    },
  })),

  {
    name: "gives what was printed without adding or losing a line end",
    run: async (harness) => {
      like(await run(harness, "printf 'x'; printf '\\n\\n' >&2"), { stdout: "x", stderr: "\n\n" });
      like(await run(harness, ":"), { stdout: "", stderr: "" });
    },
  },

  {
    name: "tells that a signal ended a command: by name, or as shells do",
    run: async (harness) => {
      const { exitCode, signal } = await run(harness, "kill -SEGV $$");
      equal(signal ?? exitCode, signal === undefined ? 128 + 11 : "SIGSEGV");
    },
  },

  {
    name: "gives the command its environment and nothing else",
    run: async (harness) => {
      process.env["LEAKING"] = "yes";
      try {
        const environment = { A: "1", B: odd, PATH: "/usr/bin:/bin" };
        const { stdout } = await run(harness, "", { argv: ["env"], environment });
        const lines = stdout.trim().split("\n").toSorted();
        // While coverage is counted Node hands its own variable to every child, whatever environment is given.
        const found = lines.filter((line) => !line.startsWith("NODE_V8_COVERAGE="));
        equal(found, ["A=1", `B=${odd}`, "LC_ALL=C", "PATH=/usr/bin:/bin"]);
      } finally {
        delete process.env["LEAKING"];
      }
    },
  },

  {
    name: "takes names of variables that shells keep for themselves, and values with line ends",
    run: async (harness) => {
      const environment = { PWD: "/x", UID: "7", IFS: ":", LC_ALL: "C.UTF-8", LINES_: "a\nb\n" };
      const { stdout } = await run(harness, "", { argv: ["/usr/bin/env", "-0"], environment });
      for (const [name, value] of Object.entries(environment)) contains(stdout.split("\0"), `${name}=${value}`);
    },
  },

  ...[
    ["signs that shells read", odd],
    ["line ends", "a\nb\r\n\nc"],
    ["nothing", ""],
    ["a long text", "x".repeat(100_000)],
  ].map(([what = "", argument = ""]) => ({
    name: `passes an argument with ${what} as it is`,
    run: async (harness: HostHarness) => {
      const argv = ["/bin/sh", "-c", 'printf "%s|%s" "$#" "$1"', "sh", argument, "last"] as const;
      like(await run(harness, "", { argv, maxOutputBytes: 200_000 }), { stdout: `2|${argument}`, exitCode: 0 });
    },
  })),

  {
    name: "runs in the given directory, whatever its name",
    run: async (harness) => {
      const place = join(harness.root, 'it\'s a "place"\nof two lines');
      await mkdir(place, { recursive: true });
      like(await run(harness, "pwd", { cwd: place }), { stdout: `${place}\n` });
    },
  },

  {
    name: "gives standard input, or none",
    run: async (harness) => {
      like(await run(harness, "cat", { stdin: "zwölf\nno end" }), { stdout: "zwölf\nno end" });
      like(await run(harness, "cat", { stdin: "" }), { stdout: "", exitCode: 0 });
      like(await run(harness, "cat"), { stdout: "", exitCode: 0 });
    },
  },

  {
    name: "gives a long standard input whole, and does not mind one that is not read",
    run: async (harness) => {
      const stdin = "0123456789abcde\n".repeat(200_000);
      like(await run(harness, "cksum", { stdin }), { stdout: / 3200000\n$/ });
      like(await run(harness, "exit 4", { stdin }), { exitCode: 4 });
      like(await run(harness, "exec <&-; sleep 0.2; echo well", { stdin }), { stdout: "well\n", exitCode: 0 });
    },
  },

  {
    name: "keeps output up to the limit and lets the command finish",
    run: async (harness) => {
      const script = "i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done; echo end >&2";
      const result = await run(harness, script, { maxOutputBytes: 1000 });
      like(result, { exitCode: 0, truncated: true, stderr: "end\n" });
      equal(result.stdout, "0123456789\n".repeat(91).slice(0, 1000));
    },
  },

  {
    name: "gives megabytes of output whole",
    run: async (harness) => {
      const { stdout, truncated } = await run(harness, "head -c 5000000 /dev/zero", { maxOutputBytes: 6_000_000 });
      equal([stdout.length, truncated], [5_000_000, false]);
    },
  },

  {
    name: "runs many commands at the same time, each with its own answer",
    run: async (harness) => {
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, index) => run(harness, `echo ${index}; exit ${index}`)),
      );
      equal(
        results.map(({ exitCode, stdout }) => [exitCode, stdout]),
        results.map((_, index) => [index, `${index}\n`]),
      );
    },
  },

  ...refusedCommands.map(({ what, change, message }) => ({
    name: `throws LAUNCH for ${what}`,
    run: async (harness: HostHarness) => {
      await rejects(run(harness, "", change), { name: "Fault", code: "LAUNCH", message });
    },
  })),
];
