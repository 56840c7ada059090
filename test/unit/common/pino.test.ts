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
