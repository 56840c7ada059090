import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { repository } from "../../helpers/cli.ts";

const run = promisify(execFile);

/** Prints the URL of everything that is loaded with a module. */
const lister = `
import { registerHooks } from "node:module";
registerHooks({ resolve(specifier, context, next) { const found = next(specifier, context); console.log(found.url); return found; } });
await import(process.argv[1]);
`;

async function loadedWith(module: string): Promise<readonly string[]> {
  const path = join(repository, "src", module);
  const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", lister, path]);
  return stdout.trim().split("\n");
}

// What a command loads is most of the time that a person waits for it.
describe("a start loads no more than it needs", () => {
  test("what asks a hub", async () => {
    const loaded = await loadedWith("cli/backend/hub.ts");
    expect(loaded.some((url) => url.endsWith("/src/sdk/http.ts"))).toBe(true);
    expect(loaded.filter((url) => /undici\/(index\.js|lib\/(web|mock|cache))/.test(url))).toEqual([]);
    expect(loaded.filter((url) => /\/(yaml|fastify|kysely|pg|pino|ssh2|chokidar)\//.test(url))).toEqual([]);
    expect(loaded.filter((url) => /\/src\/(agent|hub|config|launchers|runner|journal)\//.test(url))).toEqual([]);
  });

  test("the agent", async () => {
    const loaded = await loadedWith("compose.ts");
    expect(loaded.some((url) => url.endsWith("/undici/lib/dispatcher/agent.js"))).toBe(true);
    expect(loaded.filter((url) => /undici\/(index\.js|lib\/(web|mock|cache))/.test(url))).toEqual([]);
    expect(
      loaded.filter((url) => /\/(fastify|kysely|pg|ssh2|commander|node-pty|aws4fetch|fast-xml-parser)\//.test(url)),
    ).toEqual([]);
    expect(loaded.filter((url) => /\/src\/(cli|hub)\//.test(url))).toEqual([]);
  });
});
