import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { differing, runGenerators, writeFiles } from "../../../scripts/lib/generators.ts";
import { repository } from "../../helpers/cli.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

const fixtures = join(repository, "test", "fixtures", "generate");

describe("runGenerators", () => {
  it("gives what the modules make, formatted where the formatter knows how", async () => {
    expect(await runGenerators(join(fixtures, "good"))).toEqual([
      { path: "docs/list.md", content: "- a\n" },
      { path: "docs/picture.svg", content: "<svg  />\n" },
    ]);
  });

  it("refuses a path outside of the repository", async () => {
    await expect(runGenerators(join(fixtures, "outside"))).rejects.toThrow(
      "pages.ts: '../elsewhere.md' is no path inside",
    );
  });

  it("refuses two modules that make the same file", async () => {
    await expect(runGenerators(join(fixtures, "twice"))).rejects.toThrow("'docs/list.md' is made by another module");
  });
});

describe("differing", () => {
  it("names files that are missing or changed, and none after they were written", async () => {
    await using root = await temporaryDirectory();
    const files = await runGenerators(join(fixtures, "good"));
    expect(await differing(files, root.path)).toEqual(files);
    await writeFiles(files, root.path);
    expect(await differing(files, root.path)).toEqual([]);
    await writeFile(root.join("docs", "picture.svg"), "changed by hand");
    expect((await differing(files, root.path)).map(({ path }) => path)).toEqual(["docs/picture.svg"]);
  });
});
