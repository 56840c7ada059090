/** A runner that is started wrongly says so and does not begin. */
import { join } from "node:path";
import { expect, it } from "vitest";
import { cleanEnvironment, repository } from "../../helpers/cli.ts";
import { Program } from "../../helpers/program.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

const main = join(repository, "src", "runner", "main.ts");

it.each([
  ["without a socket", ["--state", "STATE"], /usage: --socket PATH --state DIR/],
  ["without a state directory", ["--socket", "STATE/s"], /usage: --socket PATH --state DIR/],
  [
    "with an unknown containment",
    ["--socket", "STATE/s", "--state", "STATE", "--containment", "jail"],
    /usage: .*cgroup/,
  ],
  [
    "with a path that no socket can have",
    ["--socket", `STATE/${"x".repeat(120)}`, "--state", "STATE"],
    /longer than 107/,
  ],
  ["with an unknown option", ["--sockets", "STATE/s"], /'--sockets'/],
])("%s", async (_what, args, words) => {
  await using directory = await temporaryDirectory();
  const given = args.map((arg) => arg.replace("STATE", directory.path));
  await using program = await Program.start(process.execPath, [main, ...given], {
    env: cleanEnvironment(directory.path),
    input: "",
  });
  const { code, stderr } = await program.result(30_000);
  expect(code).toBe(1);
  expect(stderr).toMatch(words);
  expect(stderr).not.toContain("runner listens");
});
