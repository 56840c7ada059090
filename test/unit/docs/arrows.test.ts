import { readdirSync } from "node:fs";
import { join, normalize } from "node:path";
import { describe, expect, test } from "vitest";
import { repository } from "../../helpers/cli.ts";
import { read } from "./markdown.ts";

/** What each folder of src may import from, besides itself: the table of ARCHITECTURE.md. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  common: [],
  jobs: ["common"],
  wire: ["jobs", "common"],
  adapters: ["conformance", "hosts", "schedulers", "launchers", "transfer", "jobs", "common"],
  config: ["adapters", "jobs", "transfer", "common"],
  journal: ["common"],
  central: ["wire", "jobs", "common"],
  hosts: ["common"],
  schedulers: ["hosts", "jobs", "common"],
  launchers: ["hosts", "schedulers", "runner", "jobs", "common"],
  runner: ["launchers", "jobs", "common"],
  transfer: ["common"],
  conformance: ["hosts", "schedulers", "launchers", "transfer", "jobs", "common"],
  agent: ["central", "config", "hosts", "jobs", "journal", "launchers", "transfer", "wire", "common"],
  hub: ["config", "wire", "jobs", "common"],
  sdk: ["wire", "jobs", "common"],
  demo: ["sdk", "wire", "common"],
};

interface Arrow {
  readonly file: string;
  /** Path below src. */
  readonly to: string;
  readonly typeOnly: boolean;
}

/** All imports of a folder's files that leave their own folder of src. */
function arrows(folder: string): readonly Arrow[] {
  const files = readdirSync(join(repository, "src", folder), { recursive: true, encoding: "utf8" });
  return files
    .filter((path) => path.endsWith(".ts"))
    .flatMap((path) => {
      const file = join(folder, path);
      const found = read(join("src", file)).matchAll(
        /(import type[^;]*?|import[^;]*?|export[^;]*?)(?:from |\()"(\.[^"]+\.ts)"/g,
      );
      return [...found].map(([, words = "", target = ""]) => ({
        file,
        to: normalize(join(file, "..", target)),
        typeOnly: words.startsWith("import type"),
      }));
    })
    .filter(({ to }) => !to.startsWith(`${folder}/`));
}

describe("arrows between folders", () => {
  test.each(Object.keys(allowed))("src/%s imports what it may", (folder) => {
    const wrong = arrows(folder).filter(({ to }) => !(allowed[folder] ?? []).includes(to.split("/")[0] ?? ""));
    expect(wrong.map(({ file, to }) => `${file} → ${to}`)).toEqual([]);
  });

  test("folders that are not listed are those that compose", () => {
    const entries = readdirSync(join(repository, "src"), { withFileTypes: true });
    const folders = entries.filter(
      (entry) => entry.isDirectory() && readdirSync(join(repository, "src", entry.name)).length > 0,
    );
    expect(folders.map(({ name }) => name).filter((name) => !Object.hasOwn(allowed, name))).toEqual(["cli"]);
  });

  test("the agent knows adapters by their types and by pure functions, never by their code", () => {
    const adapters = /^(?:launchers|hosts|transfer)\/(?:local|http)\//;
    expect(arrows("agent").filter(({ to }) => adapters.test(to))).toEqual([]);
  });

  test("no adapter imports another, and the runner knows launchers by type only", () => {
    const between = ["launchers", "schedulers", "hosts", "transfer", "conformance"].flatMap((folder) => {
      return arrows(folder).filter(
        ({ to, typeOnly }) =>
          /^(?:launchers|schedulers|hosts|transfer|agent)\//.test(to) && !(typeOnly && to.endsWith("/types.ts")),
      );
    });
    expect(between).toEqual([]);
    expect(arrows("runner").filter(({ to, typeOnly }) => to.startsWith("launchers/") && !typeOnly)).toEqual([]);
  });
});
