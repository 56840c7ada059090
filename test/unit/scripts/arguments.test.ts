import { describe, expect, it } from "vitest";
import { readRequest } from "../../../scripts/testing/arguments.ts";

describe("readRequest", () => {
  it("passes everything but --install on to vitest", () => {
    const request = readRequest(["--install", "--project", "unit", "test/unit/x.test.ts"], {});
    expect(request).toEqual({
      install: true,
      ci: false,
      required: [],
      vitestArguments: ["--project", "unit", "test/unit/x.test.ts"],
      filtered: false,
    });
  });

  it("reads TEST_REQUIRE with blanks and an empty end", () => {
    const request = readRequest([], { CI: "true", TEST_REQUIRE: "postgres, pty,systemd-analyze," });
    expect(request).toMatchObject({ ci: true, required: ["postgres", "pty", "systemd-analyze"] });
  });

  it("refuses an unknown engine and lists the allowed names", () => {
    expect(() => readRequest([], { TEST_REQUIRE: "pty,postgress,constructor" })).toThrow(
      "TEST_REQUIRE names an unknown engine: 'postgress', 'constructor'; allowed are " +
        "postgres, pty, systemd-analyze, sshd, rsync, chromium, container, mount",
    );
  });

  it("knows a filter by name", () => {
    expect(readRequest(["-t", "claims"], {}).filtered).toBe(true);
    expect(readRequest(["--testNamePattern=claims"], {}).filtered).toBe(true);
    expect(readRequest(["--typecheck"], {}).filtered).toBe(false);
  });
});
