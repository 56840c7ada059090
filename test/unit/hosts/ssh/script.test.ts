import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { remoteCall } from "../../../../src/hosts/ssh/script.ts";
import type { RunRequest } from "../../../../src/hosts/types.ts";
import { fuzz, fuzzing } from "../../../helpers/fuzz.ts";

function request(change: Partial<RunRequest> = {}): RunRequest {
  return { argv: ["true"], cwd: "/", environment: {}, timeoutMs: 1_000, maxOutputBytes: 1, ...change };
}

describe("what is said to a remote shell", () => {
  test("the command is one word in quotes that every shell reads alike, and tells nothing of the call", () => {
    const secret = "s3cret";
    const { command } = remoteCall(
      request({ argv: ["prog", secret], environment: { A: secret }, stdin: secret, cwd: `/${secret}` }),
      2_000,
    );
    expect(command).toMatch(/^exec \/usr\/bin\/env -i \/bin\/sh -c '[^'!\\\n]+'$/);
    expect(command).not.toContain(secret);
  });

  test("keys are new for each call, and the one of the frames is not in the command", () => {
    const calls = Array.from({ length: 50 }, () => remoteCall(request(), 2_000));
    expect(new Set(calls.map(({ key }) => key)).size).toBe(50);
    for (const { command, key } of calls) expect(command).not.toContain(key);
  });

  test("the script is one line, whatever the call holds", fuzzing, () => {
    const text = fc.string({ unit: "grapheme", maxLength: 40 });
    fc.assert(
      fc.property(fc.array(text, { maxLength: 5 }), fc.dictionary(text, text), text, (args, environment, cwd) => {
        const { preamble } = remoteCall(request({ argv: ["p", ...args], environment, cwd: `/${cwd}` }), 2_000);
        expect(preamble.indexOf("\n")).toBe(preamble.length - 1);
      }),
      fuzz(200),
    );
  });
});
