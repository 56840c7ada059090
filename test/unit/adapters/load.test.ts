import { chmod, chown, symlink, writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { loadAdapter } from "../../../src/adapters/load.ts";
import { temporaryDirectory, type TemporaryDirectory } from "../../helpers/temporary.ts";

const good = `export const siteagentAdapter = { contract: 1, type: "host", create() {} };\n`;

async function written(directory: TemporaryDirectory, text: string, name = "own.ts"): Promise<string> {
  const path = directory.join(name);
  await writeFile(path, text, { mode: 0o600 });
  return path;
}

/** What is wrong with a module of this text. */
async function flawOf(text: string, name?: string): Promise<string> {
  await using directory = await temporaryDirectory();
  const path = await written(directory, text, name);
  const found = await loadAdapter(path);
  if ("adapter" in found) throw new Error("it was loaded");
  return `${found.message}; allowed: ${found.allowed}`.replaceAll(directory.path, "");
}

describe("loadAdapter", () => {
  it("loads TypeScript that is not compiled, and tells a changed file by its digest", async () => {
    await using directory = await temporaryDirectory();
    const path = await written(
      directory,
      `interface Odd { readonly a: number }\nconst odd: Odd = { a: 1 };\n${good}void odd;\n`,
    );
    const first = await loadAdapter(path);
    expect(first).toMatchObject({ path, adapter: { type: "host", contract: 1 } });
    await writeFile(path, good.replace('"host"', '"transfer", schemes: ["ftp"]'));
    const second = await loadAdapter(path);
    expect(second).toMatchObject({ adapter: { type: "transfer", schemes: ["ftp"] } });
    expect("digest" in second && "digest" in first && second.digest !== first.digest).toBe(true);
  });

  it.each([
    [
      "no export",
      "export const other = 1;\n",
      /'\/own\.ts' exports no 'siteagentAdapter'; allowed: export const siteagentAdapter = \{ contract: 1/,
    ],
    [
      "no object",
      "export const siteagentAdapter = 7;\n",
      /siteagentAdapter is '7'; allowed: an object with contract, type and create/,
    ],
    [
      "another version",
      good.replace("contract: 1", "contract: 2"),
      /siteagentAdapter\.contract is '2'; allowed: 1: the version/,
    ],
    [
      "a slip of the type",
      good.replace('"host"', '"hots"'),
      /siteagentAdapter\.type is 'hots'; allowed: one of scheduler, launcher, host, transfer; did you mean 'host'\?/,
    ],
    ["no create", good.replace("create() {}", ""), /siteagentAdapter\.create is missing; allowed: a function/],
    [
      "a foreign schema",
      good.replace("create", "options: { type: 'object' }, create"),
      /siteagentAdapter\.options is .*; allowed: a schema made with z of 'siteagent\/adapter'/,
    ],
    [
      "a scheme with colon",
      good.replace('"host"', '"transfer", schemes: ["ftp:"]'),
      /siteagentAdapter\.schemes\.0 is 'ftp:'; allowed: the scheme of a URL/,
    ],
    [
      "an exit code that is none",
      good.replace('"host"', '"scheduler", reservedCodes: [256]'),
      /siteagentAdapter\.reservedCodes\.0 is '256'/,
    ],
    ["a syntax error", "export const = 1;\n", /'\/own\.ts' cannot be loaded: /],
    [
      "an exception",
      "throw new Error('broken by hand');\n",
      /'\/own\.ts' cannot be loaded: broken by hand; allowed: an ES module/,
    ],
  ])("says what is wrong: %s", async (_what, text, message) => {
    expect(await flawOf(text)).toMatch(message);
  });

  it("waits for no module for ever", async () => {
    await using directory = await temporaryDirectory();
    const path = await written(directory, `await new Promise(() => {});\n${good}`);
    expect(await loadAdapter(path, 20)).toMatchObject({
      message: expect.stringMatching(/cannot be loaded: it took more than 20 ms/),
    });
  });

  it("refuses other kinds of files, and files that are not there", async () => {
    expect(await flawOf("{}", "own.json")).toMatch(/is no ES module; allowed: a file whose name ends in \.ts/);
    await using directory = await temporaryDirectory();
    expect(await loadAdapter(directory.join("none.ts"))).toMatchObject({
      message: expect.stringContaining("no such file"),
    });
    expect(await loadAdapter(`${directory.path}/`)).toMatchObject({
      message: expect.stringContaining("is no ES module"),
    });
  });

  it("runs no code that others can change: file, directory above it, a link to it", async () => {
    await using directory = await temporaryDirectory();
    const path = await written(directory, "throw new Error('it ran');\n");
    await chmod(path, 0o666);
    expect(await loadAdapter(path)).toMatchObject({
      message: expect.stringMatching(/own\.ts' has mode '0666'/),
      allowed: expect.stringContaining(`chmod go-w '${path}'`),
    });
    await chmod(path, 0o600);
    await chmod(directory.path, 0o777);
    expect(await loadAdapter(path)).toMatchObject({
      message: expect.stringContaining(`'${directory.path}' has mode '0777'`),
    });
    await using other = await temporaryDirectory();
    await symlink(path, other.join("link.ts"));
    expect(await loadAdapter(other.join("link.ts"))).toMatchObject({
      message: expect.stringContaining("has mode '0777'"),
    });
    await chmod(directory.path, 0o700);
    if (process.getuid?.() === 0) {
      await chown(path, 65_534, 65_534);
      expect(await loadAdapter(path)).toMatchObject({ message: expect.stringContaining("belongs to uid '65534'") });
      await chown(path, 0, 0);
    }
    expect(await loadAdapter(other.join("link.ts"))).toMatchObject({ message: expect.stringContaining("it ran") });
  });
});
