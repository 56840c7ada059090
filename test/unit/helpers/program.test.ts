import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { cleanEnvironment } from "../../helpers/cli.ts";
import { isAlive } from "../../helpers/processes.ts";
import { Program } from "../../helpers/program.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";

const node = process.execPath;

describe("temporaryDirectory", () => {
  it("is gone after its scope with all content", async () => {
    let path: string;
    {
      await using directory = await temporaryDirectory();
      path = directory.path;
      await writeFile(directory.join("file"), "content");
      expect(existsSync(directory.join("file"))).toBe(true);
    }
    expect(existsSync(path)).toBe(false);
  });
});

describe("waitFor", () => {
  it("resolves with the first truthy value", async () => {
    let looks = 0;
    expect(await waitFor(() => ++looks > 2 && looks, { what: "three looks" })).toBe(3);
  });

  it("says what it waited for and the last error of the condition", async () => {
    const failing = (): never => {
      throw new Error("refused");
    };
    await expect(waitFor(failing, { what: "the hub to answer", timeoutMs: 30 })).rejects.toThrow(
      "waited 30 ms in vain for the hub to answer; last error: refused",
    );
  });
});

describe("Program", () => {
  it("gives output, code and what it read from its input", async () => {
    const source = "process.stdin.pipe(process.stdout); process.stderr.write('told'); process.exitCode = 3";
    await using program = await Program.start(node, ["-e", source], { input: "hello" });
    expect(await program.result(10_000)).toEqual({ stdout: "hello", stderr: "told", code: 3, signal: undefined });
  });

  it("gets the given environment and nothing else", async () => {
    await using program = await Program.start(node, ["-p", "Object.keys(process.env).join()"], { env: { ONLY: "1" } });
    expect((await program.result(10_000)).stdout).toBe("ONLY\n");
  });

  it("waits for a line and is ended with its scope", async () => {
    let pid: number;
    {
      await using program = await Program.start(node, ["-e", "console.log('ready 7'); setInterval(() => {}, 1000)"]);
      pid = program.pid;
      expect((await program.output(/^ready (\d)$/m))[1]).toBe("7");
      expect(isAlive(pid)).toBe(true);
    }
    expect(isAlive(pid)).toBe(false);
  });

  it("rejects with all output when it ends without the awaited line", async () => {
    await using program = await Program.start(node, ["-e", "console.error('no such thing')"]);
    await expect(program.output(/ready/)).rejects.toThrow("no such thing");
  });

  it("is killed when it does not end in time", async () => {
    await using program = await Program.start(node, ["-e", "setInterval(() => {}, 1000)"]);
    await expect(program.result(50)).rejects.toThrow("did not end within 50 ms");
    expect(isAlive(program.pid)).toBe(false);
  });

  it("refuses a file that is not there", async () => {
    await expect(Program.start("/no/such/program", [])).rejects.toThrow("ENOENT");
  });
});

describe("cleanEnvironment", () => {
  it("keeps nothing of the person who runs the tests but PATH and the like", () => {
    expect(cleanEnvironment("/home", { SITEAGENT_HUB: "x" })).toMatchObject({ HOME: "/home", SITEAGENT_HUB: "x" });
    expect(Object.keys(cleanEnvironment("/home"))).not.toContain("USER");
  });
});
