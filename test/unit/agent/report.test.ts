import { hostname } from "node:os";
import { expect, it } from "vitest";
import { discreet } from "../../../src/agent/report.ts";
import type { Report } from "../../../src/wire/agent-api.ts";

const report: Report = {
  job: "j",
  op_id: "o",
  epoch: 1,
  seq: 1,
  attempt: 1,
  state: "FAILED",
  phase: "none",
  at: "2026-01-01T00:00:00.000Z",
  done: true,
  message: `cannot read '/scratch/svc/abc/in/x.fq' on ${hostname()}`,
  hold: {
    kind: "blocked",
    reason: "file:///data/secret/x is gone (try https://data.example.org/a/b)",
    since: "2026-01-01T00:00:00.000Z",
  },
  end: {
    cause: "launch",
    evidence: "refused",
    ended_at: "2026-01-01T00:00:00.000Z",
    message: "/opt/app/run.sh: not executable",
  },
  failure: {
    code: "LAUNCH",
    category: "site",
    message: "cannot start '/opt/app/run.sh'",
    hint: "chmod +x /opt/app/run.sh",
  },
};

it("tells central no path and no host of the site when the site says minimal, and keeps the rest of the text", () => {
  const told = discreet(report, "minimal");
  expect(JSON.stringify(told)).not.toMatch(/scratch|secret|\/opt|run\.sh/);
  expect(JSON.stringify(told)).not.toContain(hostname());
  expect(told.hold?.reason).toBe("[path] is gone (try https://data.example.org/a/b)");
  expect(told.message).toBe("cannot read '[path]' on [host]");
});

it("tells everything when the site says full", () => {
  expect(discreet(report, "full")).toEqual(report);
});
