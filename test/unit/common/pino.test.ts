import { closeSync, openSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { createLogger } from "../../../src/common/pino.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

it("G8: terminal escapes and forged lines in what is logged stay text in a line of their own", async () => {
  await using directory = await temporaryDirectory();
  const fd = openSync(directory.join("log"), "w");
  const forged = '\u001b[2J\u009b31m\u007f\r\n{"level":"error","msg":"all is lost"}\n\u2028\u0007';
  const log = createLogger({ fd });
  log.info({ output: forged, nested: { [forged]: [forged] }, err: new Error(forged) }, forged);
  closeSync(fd);
  const text = readFileSync(directory.join("log"), "utf8");
  // eslint-disable-next-line no-control-regex -- they are what is looked for
  expect(text.slice(0, -1)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/);
  expect(JSON.parse(text)).toMatchObject({ level: "info", msg: forged, output: forged, err: { message: forged } });
});

it("what is called a secret is not logged, however deep it lies, and what only speaks of one is", async () => {
  await using directory = await temporaryDirectory();
  const fd = openSync(directory.join("log"), "w");
  const log = createLogger({ fd }).child({ component: "test", token: "hidden-1" });
  log.info(
    { password: "hidden-2", api: { client_secret: { file: "hidden-3" }, urls: ["a", { secret: "hidden-4" }] } },
    "a",
  );
  log.warn(
    { request: { headers: { authorization: "Bearer hidden-5" } }, err: new Error('said {"token":"shown"}') },
    "b",
  );
  closeSync(fd);
  const text = readFileSync(directory.join("log"), "utf8");
  expect(text).not.toContain("hidden");
  const [first, second] = text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as object);
  expect(first).toMatchObject({ msg: "a", component: "test", api: { client_secret: "[redacted]", urls: ["a", {}] } });
  expect(second).toMatchObject({ msg: "b", level: "warn", err: { message: 'said {"token":"shown"}' } });
});
