import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { perlPlan, type RecorderPlan, shellPlan } from "../../../src/runner/plan-files.ts";

const plan: RecorderPlan = {
  token: "abcdefghijklmno",
  directory: "/nowhere",
  workDirectory: "/nowhere/it's $HOME",
  argv: ["/bin/echo"],
  environment: {},
  umask: 0o027,
  limitMs: 1_500,
  graceMs: 250,
  maxOutputBytes: 4096,
  cgroup: undefined,
  openFiles: 1024,
};
/** Anything that an argument can be: all but NUL. */
const text = fc
  .string({
    unit: fc.oneof(
      fc.constantFrom("'", '"', "$", "`", "\\", "\n", " ", ";"),
      fc.string({ minLength: 1, maxLength: 1 }),
    ),
  })
  .filter((each) => !each.includes("\0"));

describe("plan for perl", () => {
  test("is a list of fields that nothing in them can break", () => {
    fc.assert(
      fc.property(fc.array(text), text, (args, value) => {
        const fields = perlPlan({ ...plan, argv: ["cmd", ...args], environment: { A: value, B: "" } }).split("\0");
        expect(fields.slice(0, 12)).toEqual([
          "siteagent-plan 1",
          plan.token,
          "1500",
          "250",
          "27",
          plan.workDirectory,
          "4096",
          "",
          "1024",
          "",
          "",
          "2",
        ]);
        expect(fields.slice(12)).toEqual([`A=${value}`, "B=", "cmd", ...args]);
      }),
    );
  });

  test("no limit is an empty field", () => expect(perlPlan({ ...plan, limitMs: undefined }).split("\0")[2]).toBe(""));
});

test("a warning leaves at least the time before the limit that was promised, whatever is rounded", () => {
  const warning = { signal: "SIGUSR2", beforeMs: 700, to: "command" } as const;
  const fields = (change: Partial<RecorderPlan>): string | undefined =>
    perlPlan({ ...plan, ...change }).split("\0")[10];
  expect(fields({ warning })).toBe("800 USR2 command");
  expect(fields({ warning, limitMs: undefined })).toBe("");
  expect(fields({ warning: { ...warning, beforeMs: 9_000 } })).toBe("0 USR2 command");
  const lines = (change: Partial<RecorderPlan>): string =>
    (/^warn_s=.*\nwarn_signal=.*\nwarn_to=.*$/m.exec(shellPlan({ ...plan, ...change })) ?? [""])[0];
  expect(lines({ warning })).toBe("warn_s=1\nwarn_signal='USR2'\nwarn_to=command");
  expect(lines({ warning, limitMs: undefined })).toBe("warn_s=\nwarn_signal=\nwarn_to=");
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10 ** 9 }), fc.integer({ min: 0, max: 10 ** 9 }), (limitMs, beforeMs) => {
      const seconds = Number(/^warn_s=(\d+)/.exec(lines({ limitMs, warning: { ...warning, beforeMs } }))?.[1]);
      if (seconds > 0) expect(Math.ceil(limitMs / 1000) - seconds).toBeGreaterThanOrEqual(beforeMs / 1000);
      expect(seconds).toBeGreaterThanOrEqual(0);
    }),
  );
});

describe("plan for sh", () => {
  /** What a shell makes of it; the command is shown instead of run. */
  function readBack(text: string, what: string): string {
    return execFileSync(
      "/bin/sh",
      [
        "-c",
        `eval "$1"; show() { printf '%s\\0' "$@"; }; ${what}`,
        "sh",
        text.replace("exec $session $env $signals -i", "show"),
      ],
      {
        encoding: "utf8",
      },
    );
  }

  test("quotes every value: nothing in it is ever read as shell text", { timeout: 30_000 }, () => {
    fc.assert(
      fc.property(fc.array(text), text, (args, value) => {
        const script = shellPlan({ ...plan, argv: ["cmd", ...args], environment: { A: value } });
        expect(readBack(script, "run").split("\0").slice(0, -1)).toEqual([`A=${value}`, "cmd", ...args]);
      }),
      { numRuns: 40 },
    );
  });

  test("rounds times up to whole seconds and keeps odd directories", () => {
    const script = shellPlan(plan);
    expect(readBack(script, 'printf "%s|" "$limit_s" "$grace_s" "$mask" "$cwd" "$cap" "$cgroup"')).toBe(
      "2|1|0027|/nowhere/it's $HOME|4096||",
    );
    expect(readBack(shellPlan({ ...plan, limitMs: undefined, maxOutputBytes: 0 }), 'echo "[$limit_s$cap]"')).toBe(
      "[]\n",
    );
  });
});
