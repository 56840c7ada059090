import { mkdir, writeFile } from "node:fs/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { endFromRecord, maxEvidenceBytes, parseExitRecord, readEvidence } from "../../../src/runner/evidence.ts";
import { readEvidenceHere } from "../../../src/runner/evidence-here.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

const at = 1_795_173_422_248;

function endOf(line: string, first = "0") {
  const record = parseExitRecord(`${first}\n1 ${line}\n`);
  return record && endFromRecord(record, at - 1_000);
}

describe("exit records", () => {
  test.each([
    [`exit 0 ${at} - 1 0 0`, { cause: "exit", exit_code: 0 }],
    [`exit 137 ${at} - 1 0 0`, { cause: "exit", exit_code: 137 }],
    [`signal 9 ${at} - 1 0 0`, { cause: "signal", signal: "SIGKILL" }],
    [`signal 42 ${at} - 1 0 0`, { cause: "signal", signal: "SIG42" }],
    [`exit 0 ${at} timeout 1 0 0`, { cause: "timeout", exit_code: 0 }],
    [`signal 15 ${at} stop 0 0 0`, { cause: "cancelled", signal: "SIGTERM" }],
    [
      `launch 127 ${at} - 1 0 0 cannot execute 'x y'`,
      { cause: "launch", exit_code: 127, message: "cannot execute 'x y'" },
    ],
    [
      `code 137 ${at} - 0 0 0`,
      { cause: "exit", exit_code: 137, message: expect.stringContaining("may stand for SIGKILL") },
    ],
    [`exit 3 ${at} - 1 3235840 0.250`, { usage: { max_rss_bytes: 3235840, cpu_seconds: 0.25 } }],
  ])("%s", (line, end) => {
    expect(endOf(line)).toMatchObject({ evidence: "rc", ended_at: new Date(at).toISOString(), ...end });
  });

  test("a signal carries no exit code, an exit no signal", () => {
    expect(endOf(`signal 9 ${at} - 1 0 0`, "137")).not.toHaveProperty("exit_code");
    expect(endOf(`exit 137 ${at} - 1 0 0`, "137")).not.toHaveProperty("signal");
  });

  test("what never ran has no start", () => expect(endOf(`launch 127 ${at} - 1 0 0`)).not.toHaveProperty("started_at"));

  test("cut anywhere or changed, they are never a success that was not written", () => {
    const whole = `7\n1 exit 7 ${at} - 1 3235840 0.004\n`;
    fc.assert(
      fc.property(fc.integer({ min: 0, max: whole.length }), (length) => {
        const read = parseExitRecord(whole.slice(0, length));
        expect(read === undefined || read.value === 7).toBe(true);
      }),
    );
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(parseExitRecord(text)).toBeUndefined();
      }),
    );
    expect(parseExitRecord("0\n")).toBeUndefined();
  });
});

describe("an attempt's directory", () => {
  test("missing is not the same as empty", async () => {
    await using directory = await temporaryDirectory();
    expect(await readEvidence(directory.path)).toMatchObject({ directory: "present", guardAtMs: undefined });
    expect(await readEvidence(directory.join("nowhere"))).toMatchObject({ directory: "missing" });
  });

  test("tells what it has, and what is damaged", async () => {
    await using directory = await temporaryDirectory();
    await mkdir(directory.join("started"));
    await writeFile(directory.join("recorder"), "rubbish");
    await writeFile(directory.join("rc"), `4\n1 exit 4 ${at} - 0 0 0\n`);
    await writeFile(directory.join("gone"), "1 subreaper 1\n");
    await writeFile(directory.join("timeout"), "1\n");
    expect(await readEvidence(directory.path)).toMatchObject({
      directory: "present",
      guardAtMs: expect.any(Number),
      recorder: "damaged",
      job: undefined,
      rc: { kind: "exit", value: 4, alone: false },
      gone: true,
      timeout: true,
      stop: false,
      cgroup: undefined,
    });
  });

  test("a place below a file is missing, and what is larger than any record is none", async () => {
    await using directory = await temporaryDirectory();
    await writeFile(directory.join("rc"), `0\n1 exit 0 ${at} - 1 0 0 ${"x".repeat(maxEvidenceBytes)}\n`);
    for (const read of [readEvidence, readEvidenceHere]) {
      expect(await read(directory.join("rc", "attempt"))).toMatchObject({ directory: "missing" });
      expect(await read(directory.path)).toMatchObject({ directory: "present", rc: undefined });
    }
  });
});
