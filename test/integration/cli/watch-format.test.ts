import { expect, test } from "vitest";
import { runCli } from "../../helpers/cli.ts";

test.each(["json", "yaml"])("watch refuses -o %s, which is one document, and names jsonl", async (format) => {
  expect(await runCli(["watch", "last", "-o", format])).toMatchObject({
    code: 64,
    stdout: "",
    stderr: expect.stringContaining("-o jsonl"),
  });
});
