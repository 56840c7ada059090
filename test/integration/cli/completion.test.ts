import { once } from "node:events";
import { createServer } from "node:net";
import { dirname } from "node:path";
import { writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { siteagentBin } from "../../helpers/cli.ts";
import { Program } from "../../helpers/program.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { Shell, startHubFor } from "./rig.ts";

let stack: AsyncDisposableStack;
let shell: Shell;
let ids: string[];
beforeAll(async () => {
  stack = new AsyncDisposableStack();
  shell = new Shell(stack.use(await temporaryDirectory("sa-comp-")));
  await startHubFor(shell, stack);
  ids = [await shell.id("submit", "hello-1.0.0", "--tag", "project=p1"), await shell.id("submit", "hello-1.0.0")];
});
afterAll(async () => {
  await stack.disposeAsync();
});

/** What bash would offer for a line, after sourcing the script twice in a shell without any of a person's settings. */
async function bashOffers(line: string, env: Readonly<Record<string, string>> = {}): Promise<readonly string[]> {
  const script = `
    source <(siteagent completion bash); source <(siteagent completion bash)
    COMP_LINE=$1; COMP_POINT=\${#COMP_LINE}
    _siteagent_complete
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  await using program = await Program.start("/bin/bash", ["--norc", "--noprofile", "-c", script, "bash", line], {
    env: { PATH: `${dirname(siteagentBin)}:/usr/bin:/bin`, HOME: shell.directory.path, ...shell.env, ...env },
    cwd: shell.directory.path,
    input: "",
  });
  const { stdout, stderr, code } = await program.result(20_000);
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  return stdout.split("\n").filter((word) => word !== "");
}

describe("completion in bash, without the bash-completion package", () => {
  test("offers commands, flags and values", async () => {
    expect(await bashOffers("siteagent sub")).toEqual(["submit"]);
    expect(await bashOffers("siteagent outputs ")).toEqual(["ls", "cat", "get"]);
    expect(await bashOffers("siteagent logs --str")).toEqual(["--stream"]);
    expect(await bashOffers("siteagent jobs -o js")).toEqual(["json", "jsonl"]);
  });

  test("looks up job ids, also behind their colon, tags and workflows", async () => {
    expect(await bashOffers("siteagent job ")).toEqual(expect.arrayContaining(["last", ...ids]));
    const [id = ""] = ids;
    expect(await bashOffers(`siteagent job ${id.slice(0, -2)}`)).toEqual([id.slice("nmdc:".length)]);
    expect(await bashOffers("siteagent jobs --tag proj")).toEqual(["project=p1"]);
    expect(await bashOffers("siteagent submit metag")).toEqual(
      expect.arrayContaining([expect.stringMatching(/^metag-/)]),
    );
  });

  test("offers files where files are meant", async () => {
    await writeFile(shell.directory.join("my jobs.jsonl"), "");
    await writeFile(shell.directory.join("site one.yaml"), "");
    expect(await bashOffers("siteagent validate si")).toEqual(["site one.yaml"]);
  });
});

describe("siteagent __complete", () => {
  test("gives up on a hub that does not answer, without a word", async () => {
    const server = createServer(() => {}).listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const begin = performance.now();
    const { stdout, stderr, code } = await shell.run(
      ["__complete", "--", "cancel", "--hub", `http://127.0.0.1:${port}`, ""],
      { env: { SITEAGENT_TOKEN: "t" } },
    );
    const tookMs = performance.now() - begin;
    server.close();
    expect({ stdout, stderr, code }).toEqual({ stdout: "last\n", stderr: "", code: 0 });
    expect(tookMs).toBeLessThan(5_000);
  });

  test("says nothing about a hub that is not there", async () => {
    const { stdout, stderr, code } = await shell.run(["__complete", "--", "submit", "--hub", "http://127.0.0.1:9", ""]);
    expect({ stdout, stderr, code }).toEqual({ stdout: "", stderr: "", code: 0 });
  });
});

test.each(["zsh", "fish"])("the script for %s asks the program", async (name) => {
  expect((await shell.run(["completion", name])).stdout).toContain("__complete -- ");
});
