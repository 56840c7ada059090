import { expect, test } from "vitest";
import { runCli } from "../../helpers/cli.ts";

test("init names all flags that are missing or wrong at once", async () => {
  const { code, stderr } = await runCli([
    "init",
    ...["--site", "two words", "--api", "nowhere", "--slots", "none", "--source", "ftp:/x", "-o", "json"],
  ]);
  expect(code).toBe(64);
  const { error } = JSON.parse(stderr) as { error: { message: string; details: object } };
  expect(error.details).toEqual({
    missing: ["--client-id", "--secret-file"],
    wrong: ["--site", "--api", "--slots", "--source"],
  });
  for (const words of ["--client-id, --secret-file are missing", "'two words'", "'nowhere'", "'none'"])
    expect(error.message).toContain(words);
});
