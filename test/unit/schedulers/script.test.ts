import { assert, constantFrom, property, string } from "fast-check";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/common/fault.ts";
import { commandEnvironment } from "../../../src/schedulers/environment.ts";
import { oneLine, renderScript } from "../../../src/schedulers/script.ts";
import { inChunks } from "../../../src/common/chunks.ts";
import { wordsOf } from "../../../src/schedulers/text.ts";
import { fuzz, fuzzing } from "../../helpers/fuzz.ts";

const parts = {
  directives: ["#SBATCH --time=0-01:00:00", "#SBATCH --nodes=1"],
  variables: { task: "${T:-0}", nativeId: "$J", restarts: "" },
  prologue: ["unset X"],
  body: "echo hello",
};

describe("a job script", () => {
  it("has its directives right under the first line, then the variables, the prologue, the body", () => {
    expect(renderScript(parts)).toBe(`#!/bin/sh
#SBATCH --time=0-01:00:00
#SBATCH --nodes=1

SITEAGENT_TASK=\${T:-0}
SITEAGENT_NATIVE_ID=$J
SITEAGENT_RESTARTS=
unset X

echo hello
`);
  });

  it("refuses what would end a line, wherever it stands", () => {
    for (const evil of ["x\ntouch y", "x\rtouch y", "x\0", "x\u2028y", "x\u007f"]) {
      expect(() => renderScript({ ...parts, directives: [evil] })).toThrow(Fault);
      expect(() => renderScript({ ...parts, prologue: [evil] })).toThrow(Fault);
      expect(() => oneLine("the account", evil)).toThrow("the account has the control character U+");
    }
    expect(() => renderScript({ ...parts, body: "x\0" })).toThrow("NUL");
  });

  it("keeps every body as it is, after exactly so many lines", fuzzing, () => {
    const body = string({ unit: "binary" });
    assert(
      property(body, constantFrom("", "\n"), (text, end) => {
        if (text.includes("\0")) return;
        const lines = renderScript({ ...parts, body: `${text}${end}` }).split("\n");
        const kept = lines.slice(9).join("\n");
        expect(kept === `${text}${end}` || kept === `${text}${end}\n`).toBe(true);
        expect(kept.endsWith("\n")).toBe(true);
      }),
      fuzz(300),
    );
  });
});

describe("words of a command", () => {
  it("are one line without control characters, cut", () => {
    expect(wordsOf(" a\nb\u001b[31m\tc ")).toBe("a b [31m c");
    expect(wordsOf("x".repeat(10_000))).toHaveLength(501);
    expect(wordsOf("\n")).toBe("");
  });
});

describe("chunks", () => {
  it("keep the order and lose nothing", () => {
    expect(inChunks([1, 2, 3, 4, 5], 2)).toEqual([[1, 2], [3, 4], [5]]);
    expect(inChunks([], 2)).toEqual([]);
  });
});

describe("the environment of commands", () => {
  it("has nothing of an enclosing job or of a person's settings, but what locates the scheduler", () => {
    const given = {
      PATH: "/opt/slurm/bin:/usr/bin",
      HOME: "/home/svc",
      SLURM_CONF: "/etc/slurm.conf",
      SLURM_JOB_ID: "1",
      SLURM_CPU_BIND: "x",
      SBATCH_PARTITION: "x",
      SQUEUE_FORMAT: "%i",
      PMI_RANK: "0",
      PBS_JOBID: "1",
      NSLOTS: "4",
      XDG_RUNTIME_DIR: "/run/user/0",
      TZ: "Europe/Berlin",
      LC_ALL: "de_DE.UTF-8",
    };
    expect(commandEnvironment(given, ["SLURM_CONF"])).toEqual({
      PATH: "/opt/slurm/bin:/usr/bin",
      HOME: "/home/svc",
      SLURM_CONF: "/etc/slurm.conf",
      TZ: "UTC",
      LC_ALL: "C",
    });
  });
});
