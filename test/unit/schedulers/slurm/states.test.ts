import { describe, expect, it } from "vitest";
import { exitFields, parseExitStatus, refinedKind } from "../../../../src/schedulers/slurm/exit-status.ts";
import { cancelledBy, meaningOf, neverStarts } from "../../../../src/schedulers/slurm/states.ts";

describe("states", () => {
  it.each([
    ["PENDING", "queued"],
    ["CONFIGURING", "queued"],
    ["REQUEUED", "queued"],
    ["RUNNING", "running"],
    ["SUSPENDED", "running"],
    ["STOPPED", "running"],
    ["RESIZING", "running"],
    ["SIGNALING", "running"],
    ["COMPLETING", "finishing"],
    ["STAGE_OUT", "finishing"],
    ["REVOKED", "unknown"],
  ])("%s is %s", (word, as) => {
    expect(meaningOf(word).as).toBe(as);
  });

  it.each([
    ["COMPLETED", "completed"],
    ["FAILED", "failed"],
    ["CANCELLED", "cancelled"],
    ["TIMEOUT", "timeout"],
    ["OUT_OF_MEMORY", "oom"],
    ["NODE_FAIL", "node"],
    ["BOOT_FAIL", "node"],
    ["PREEMPTED", "preempted"],
    ["DEADLINE", "limit"],
  ])("E11: %s ended as %s, and COMPLETED alone is success", (word, kind) => {
    expect(meaningOf(word)).toEqual({ as: "ended", kind });
  });

  it.each(["REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"])("%s waits for a person", (word) => {
    expect(meaningOf(word)).toEqual({ as: "queued", stuck: true });
  });

  it("E10: are read whatever stands beside the word and however it is written", () => {
    expect(meaningOf("CANCELLED by 1234")).toEqual({ as: "ended", kind: "cancelled" });
    expect(meaningOf("CANCELLED+")).toEqual({ as: "ended", kind: "cancelled" });
    expect(meaningOf(" completed ")).toEqual({ as: "ended", kind: "completed" });
    expect(meaningOf("cd")).toEqual({ as: "ended", kind: "completed" });
    expect(cancelledBy("CANCELLED by 1234")).toBe("1234");
    expect(cancelledBy("CANCELLED")).toBeUndefined();
  });

  it.each(["", "?", "TERMINÉ", "COMPLETE", "COMPLETED_WELL", "constructor", "__proto__", "ABGESCHLOSSEN", "1"])(
    "E10: a word that is not in the table (%j) is unknown, never an end",
    (word) => {
      expect(meaningOf(word)).toEqual({ as: "unknown" });
    },
  );
});

describe("reasons", () => {
  it.each([
    "JobHeldUser",
    "JobHeldAdmin",
    "JobHoldMaxRequeue",
    "launch failed requeued held",
    "launch_failed_requeued_held",
    "DependencyNeverSatisfied",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
    "BadConstraints",
    "InvalidAccount",
    "InvalidQOS",
    "AssocMaxWallDurationPerJobLimit",
    "QOSMaxCpuPerJobLimit",
    "QOSMaxGRESPerJob",
    "QOSMaxNodePerJobLimit",
    "QOSMinCpuNotSatisfied",
    "ReservationDeleted",
    "AccountNotAllowed",
  ])("E15: with %s a job never starts by itself", (reason) => {
    expect(neverStarts(reason)).toBe(true);
  });

  it.each([
    "None",
    "Priority",
    "Resources",
    "Dependency",
    "BeginTime",
    "Licenses",
    "ReqNodeNotAvail",
    "ReqNodeNotAvail, UnavailableNodes:n[1-3]",
    "PartitionDown",
    "JobArrayTaskLimit",
    "QOSMaxJobsPerUserLimit",
    "QOSMaxCpuPerUserLimit",
    "AssocGrpCpuLimit",
    "MaxJobsPerAccount",
    "QOSGrpWallLimit",
    "Reservation",
    "",
  ])("with %j it waits", (reason) => {
    expect(neverStarts(reason)).toBe(false);
  });
});

describe("exit statuses", () => {
  it.each([
    ["0:0", 0, 0],
    ["3:0", 3, 0],
    ["0:9", 0, 9],
    ["768", 3, 0],
    ["9", 0, 9],
    ["0", 0, 0],
    ["65280", 255, 0],
    ["4021", 15, 53],
  ])("'%s' is code %i, signal %i", (text, code, signal) => {
    expect(parseExitStatus(text)).toEqual({ code, signal });
  });

  it.each(["", "N/A", "-1", "1:", ":1", "1:2:3", "99999999999"])("'%s' is none", (text) => {
    expect(parseExitStatus(text)).toBeUndefined();
  });

  it("tell memory and a script that could not begin apart from its own failure", () => {
    expect(refinedKind("failed", { code: 0, signal: 125 })).toBe("oom");
    expect(refinedKind("failed", { code: 0, signal: 53 })).toBe("launch");
    expect(refinedKind("failed", { code: 0, signal: 0 })).toBe("launch");
    expect(refinedKind("failed", { code: 1, signal: 0 })).toBe("failed");
    expect(refinedKind("failed", { code: 0, signal: 9 })).toBe("failed");
    expect(refinedKind("failed", { code: undefined, signal: 0 })).toBe("failed");
  });

  it("never let COMPLETED be success with a code or signal", () => {
    expect(refinedKind("completed", { code: 0, signal: 0 })).toBe("completed");
    expect(refinedKind("completed", { code: 1, signal: 0 })).toBe("failed");
    expect(refinedKind("completed", { code: 0, signal: 9 })).toBe("failed");
    expect(refinedKind("completed", { code: 0, signal: 125 })).toBe("oom");
  });

  it("do not turn the 0 beside another state into a code", () => {
    expect(exitFields("timeout", { code: 0, signal: 0 })).toEqual({});
    expect(exitFields("timeout", { code: 0, signal: 15 })).toEqual({ signal: "SIGTERM" });
    expect(exitFields("completed", { code: 0, signal: 0 })).toEqual({ exitCode: 0 });
    expect(exitFields("failed", { code: 3, signal: 0 })).toEqual({ exitCode: 3 });
    expect(exitFields("oom", { code: 0, signal: 125 })).toEqual({});
    expect(exitFields("failed", { code: 0, signal: 60 })).toEqual({ signal: "SIG60" });
    expect(exitFields("failed", { code: undefined, signal: 0 })).toEqual({});
  });
});
