import { describe, expect, test } from "vitest";
import { offerFor } from "../../../src/cli/complete.ts";

describe("completion offers", () => {
  test("commands first", () => {
    const { words } = offerFor([], "");
    expect(words).toContain("submit");
    expect(words).toContain("doctor");
    expect(offerFor(["outputs"], "").words).toEqual(["ls", "cat", "get"]);
  });

  test("flags of the command, and those of all", () => {
    const { words } = offerFor(["jobs"], "--");
    expect(words).toContain("--status");
    expect(words).toContain("--output");
    expect(words).not.toContain("--stream");
  });

  test("values where they are known", () => {
    expect(offerFor(["logs", "--stream"], "").words).toEqual(["stdout", "stderr", "both"]);
    expect(offerFor(["jobs", "-o"], "").words).toContain("jsonl");
    expect(offerFor(["logs"], "--stream=").words).toContain("--stream=both");
    expect(offerFor(["completion"], "").words).toEqual(["bash", "zsh", "fish"]);
  });

  test("what has to be looked up", () => {
    expect(offerFor(["job"], "nmdc:")).toMatchObject({ kind: "job", words: ["last"] });
    expect(offerFor(["cancel", "nmdc:a"], "").kind).toBe("job");
    expect(offerFor(["outputs", "get"], "").kind).toBe("job");
    expect(offerFor(["submit"], "").kind).toBe("workflow");
    expect(offerFor(["jobs", "--tag"], "").kind).toBe("tag");
    expect(offerFor(["validate"], "").kind).toBe("file");
  });

  test("nothing where a free text stands", () => {
    expect(offerFor(["submit", "x", "--name"], "")).toMatchObject({ words: [], kind: undefined });
    expect(offerFor(["submit", "x"], "")).toMatchObject({ words: [], kind: undefined });
  });

  test("with the hub that was named", () => {
    expect(offerFor(["job", "--hub", "http://h", "--local"], "").given).toEqual({ hub: "http://h", local: true });
    expect(offerFor(["jobs", "--hub=http://h"], "").given).toEqual({ hub: "http://h" });
  });
});
