import { array, assert, constantFrom, oneof, property, string } from "fast-check";
import { describe, expect, it } from "vitest";
import { parseOrder } from "../../../../src/schedulers/pbs/orders.ts";
import { qdel } from "../../../../src/schedulers/pbs/qdel.ts";
import { qhold } from "../../../../src/schedulers/pbs/qhold.ts";
import { parseQselect } from "../../../../src/schedulers/pbs/qselect.ts";
import { parseQsub } from "../../../../src/schedulers/pbs/qsub.ts";
import { fuzz, fuzzing } from "../../../helpers/fuzz.ts";
import { recorded, result } from "./recorded.ts";

describe("qsub's answer", () => {
  it.each([
    ["submit-ok", "5.pbshost"],
    ["submit-array", "7[].pbshost"],
    ["submit-long-name", "12.pbshost"],
    ["submit-variable-with-comma", "13.pbshost"],
  ])("%s is an id", (name, id) => {
    expect(parseQsub(recorded(name), "openpbs")).toEqual({ state: "submitted", id });
  });

  it.each([
    ["submit-bad-queue", "Unknown queue"],
    ["submit-bad-resource", "Unknown resource"],
    ["submit-bad-walltime", "Illegal attribute or resource value"],
    ["submit-no-script", "No such file"],
    ["submit-variable", "cannot send environment"],
  ])("E16: %s is a rejection in PBS's words", (name, words) => {
    expect(parseQsub(recorded(name), "openpbs")).toEqual({ state: "rejected", reason: expect.stringContaining(words) });
  });

  it.each([
    [198, "qsub: Maximum number of jobs already in queue\n"],
    [38, "qsub: would exceed queue workq's per-user limit of jobs in 'Q' state\n"],
    [38, "qsub: something in words that nobody knows\n"],
    [196, "qsub: Resource temporarily unavailable\n"],
    [173, "qsub: Queue is not enabled\n"],
    [32, "qsub: request rejected as filter hook 'limits' encountered an exception. Please inform Admin\n"],
  ])("E16: %i is a limit of the moment: %s", (exitCode, stderr) => {
    expect(parseQsub(result({ exitCode, stderr }), "openpbs")).toMatchObject({ state: "limited" });
  });

  it("E16: a hook of the site that says no is a rejection", () => {
    const stderr = "qsub: jobs here need an account, see https://hpc.example.org\n";
    expect(parseQsub(result({ exitCode: 32, stderr }), "openpbs").state).toBe("rejected");
  });

  it.each([
    ["E4: a server that is down", recorded("server-down-qsub")],
    ["E20: an expired credential", result({ exitCode: 172, stderr: "qsub: Expired credential\n" })],
    ["E20: an invalid credential", result({ exitCode: 171, stderr: "qsub: Invalid credential\n" })],
    ["a broken connection", result({ exitCode: 183, stderr: "qsub: Premature end of message\n" })],
    ["an end in time of nothing", result({ exitCode: undefined, signal: "SIGKILL", timedOut: true })],
    ["no id with exit status 0", result({ stdout: "Welcome to the cluster\n" })],
    ["an unknown status without words", result({ exitCode: 77 })],
    ["a wrapper of the site that fails", result({ exitCode: 1, stderr: "Traceback (most recent call last):\n" })],
  ])("%s is unclear", (_, given) => {
    expect(parseQsub(given, "openpbs").state).toBe("unclear");
  });

  it("E17: between banners the id is found, also when the command ends badly", () => {
    const stdout = "*** 3 of 5 jobs used ***\nversion 1.2\n44.pbs01.example.org\n23.06\n*** bye ***\n";
    expect(parseQsub(result({ stdout, exitCode: 1 }), "openpbs")).toEqual({
      state: "submitted",
      id: "44.pbs01.example.org",
    });
  });

  it("of Torque goes by words, for its numbers are others", () => {
    const unknown = result({ exitCode: 172, stderr: "qsub: submit error (Unknown queue MSG=cannot locate queue)\n" });
    expect(parseQsub(unknown, "torque").state).toBe("rejected");
    const full = result({
      exitCode: 228,
      stderr: "qsub: submit error (Maximum number of jobs already in queue for user)\n",
    });
    expect(parseQsub(full, "torque").state).toBe("limited");
    expect(parseQsub(result({ exitCode: 170, stderr: "" }), "torque").state).toBe("unclear");
  });
});

describe("an order's answer", () => {
  it.each([
    ["qdel-queued", "6.pbshost", { state: "requested" }],
    ["qdel-finished", "0.pbshost", { state: "over" }],
    ["qdel-unknown", "999.pbshost", { state: "over" }],
    ["qhold", "9.pbshost", { state: "requested" }],
    ["qrls", "9.pbshost", { state: "requested" }],
  ])("%s", (name, id, expected) => {
    expect(parseOrder(name.slice(0, 4), [id], recorded(name)).get(id)).toEqual(expected);
  });

  it("E4: of a server that is down is none", () => {
    expect(parseOrder("qdel", ["5.pbshost"], recorded("server-down-qdel")).get("5.pbshost")).toMatchObject({
      state: "unknown",
      why: expect.stringContaining("Connection refused"),
    });
  });

  it("E9: names what is wrong with some; the others are taken", () => {
    const stderr =
      "qdel: Unknown Job Id 1.s\nqdel: Unauthorized Request  3.s\nqdel: Request invalid for state of job 4.s\n";
    const answer = parseOrder("qdel", ["1.s", "2.s", "3.s", "4.s"], result({ exitCode: 168, stderr }));
    expect([...answer.values()].map(({ state }) => state)).toEqual(["over", "requested", "refused", "requested"]);
  });

  it("that complains of what nobody knows says nothing of those that are not named", () => {
    const answer = parseOrder(
      "qdel",
      ["1.s", "2.s"],
      result({ exitCode: 5, stderr: "qdel: Unknown Job Id 1.s\nqdel: odd\n" }),
    );
    expect([...answer.values()].map(({ state }) => state)).toEqual(["over", "unknown"]);
    expect(parseOrder("qhold", ["1.s"], result({ exitCode: 5 })).get("1.s")?.state).toBe("unknown");
    expect(parseOrder("qhold", ["1.s"], result({ exitCode: 0, timedOut: true })).get("1.s")?.state).toBe("unknown");
  });

  it("takes a line of one id for no other", () => {
    const answer = parseOrder(
      "qdel",
      ["1.s", "11.s", "1[].s"],
      result({ exitCode: 153, stderr: "qdel: Unknown Job Id 11.s\n" }),
    );
    expect([...answer.values()].map(({ state }) => state)).toEqual(["requested", "over", "requested"]);
  });

  it("destroys no history", () => {
    expect(qdel(["1.s"]).argv).toEqual(["qdel", "1.s"]);
    expect(qhold(["1.s"]).argv).toEqual(["qhold", "-h", "u", "1.s"]);
  });
});

describe("qselect's answer", () => {
  it("is the ids", () => {
    expect(parseQselect(recorded("qselect-by-name"))).toEqual({ state: "answer", ids: ["13.pbshost"] });
  });

  it("without history is none, although the exit status is 0", () => {
    const stderr = "qselect: PBS is not configured to maintain job history\n";
    expect(parseQselect(result({ stderr }))).toEqual({ state: "no-history" });
  });

  it("E4: of a server that is down is none", () => {
    const stderr = "Connection refused\nqselect: cannot connect to server pbshost (errno=15010)\n";
    expect(parseQselect(result({ exitCode: 162, stderr }))).toMatchObject({ state: "unknown" });
    expect(parseQselect(result({ stderr: "qselect: odd\n" }))).toMatchObject({ state: "unknown" });
    expect(parseQselect(result({ truncated: true }))).toMatchObject({ state: "unknown" });
  });
});

it("any output gives an answer to a submission, a search and an order", fuzzing, () => {
  const piece = oneof(
    string({ unit: "binary" }),
    constantFrom("1.s", "\n", "qsub: ", "Unknown Job Id ", "1[].s", "usage: qsub"),
  );
  const output = array(piece, { maxLength: 6 }).map((pieces) => pieces.join(""));
  const code = constantFrom(0, 1, 2, 32, 35, 38, 153, 162, 255, undefined);
  assert(
    property(output, output, code, constantFrom("openpbs", "torque"), (stdout, stderr, exitCode, flavour) => {
      const given = result({ stdout, stderr, exitCode });
      const submitted = parseQsub(given, flavour);
      if (submitted.state === "submitted") expect(stdout).toContain(submitted.id);
      if (exitCode !== 0) expect(parseQselect(given).state).not.toBe("answer");
      expect([...parseOrder("qdel", ["1.s", "2.s"], given).keys()]).toEqual(["1.s", "2.s"]);
    }),
    fuzz(200),
  );
});
