import { describe, expect, it } from "vitest";
import { Contact } from "../../../src/agent/contact.ts";
import { Problems } from "../../../src/agent/problems.ts";
import { systemClock } from "../../../src/common/clock.ts";
import { Fault } from "../../../src/common/fault.ts";

/** A clock that is set by hand. */
function clockAt(iso: string) {
  let nowMs = Date.parse(iso);
  return { ...systemClock, now: () => nowMs, pass: (ms: number) => void (nowMs += ms) };
}

describe("problems", () => {
  it("keep since when they are, whatever is said of them later, and go away one by one", () => {
    const clock = clockAt("2026-01-01T00:00:00.000Z");
    const problems = new Problems(clock);
    problems.set("space", "little space");
    clock.pass(60_000);
    problems.set("space", "no space", "free some");
    problems.set("clean:a", "a stays");
    problems.set("clean:b", "b stays");
    expect(problems.find("space")).toEqual({
      what: "no space",
      since: "2026-01-01T00:00:00.000Z",
      repair: "free some",
    });
    problems.keepOnly("clean:", new Set(["b"]));
    expect(problems.list().map(({ what }) => what)).toEqual(["no space", "b stays"]);
    problems.clear("space");
    problems.clear("space");
    expect(problems.list().map(({ what }) => what)).toEqual(["b stays"]);
  });
});

describe("contact with central", () => {
  it.each([
    [new Fault("UNREACHABLE", "no route"), false],
    [new Fault("UNAUTHENTICATED", "who are you"), false],
    [new Fault("FORBIDDEN", "not here"), false],
    [new Fault("RATE_LIMITED", "slowly"), true],
    [new Fault("INVALID", "no such field"), true],
    [undefined, true],
  ])("after %s: reachable %s", (fault, reachable) => {
    const clock = clockAt("2026-01-01T00:00:00.000Z");
    const problems = new Problems(clock);
    const contact = new Contact(clock);
    contact.note(undefined, problems);
    clock.pass(1000);
    contact.note(fault, problems);
    expect(contact).toMatchObject({ reachable, lastError: fault?.message });
    expect(contact.since).toBe(reachable ? "2026-01-01T00:00:00.000Z" : "2026-01-01T00:00:01.000Z");
    expect(problems.find("api") === undefined).toBe(reachable);
  });

  it("shows the repair that the fault knows", () => {
    const problems = new Problems(systemClock);
    const contact = new Contact(systemClock);
    contact.note(new Fault("UNAUTHENTICATED", "wrong secret", { hint: "look at api.client_secret" }), problems);
    expect(problems.find("api")).toMatchObject({ repair: "look at api.client_secret" });
    contact.note(new Fault("UNREACHABLE", "no route"), problems);
    expect(problems.find("api")).toMatchObject({ repair: expect.stringContaining("running jobs go on") });
  });
});
