/** No path leaves the work directory. */
import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { equal, like, rejects } from "../check.ts";
import { callContext, type Case } from "../suite.ts";
import { type HostHarness, at } from "./commands.ts";

export const confines: readonly Case<HostHarness>[] = [
  {
    name: "F8: refuses every path that is not below the workdir",
    run: async (harness) => {
      const { workdir } = harness.host;
      const outside = [
        "/etc/passwd",
        `${workdir}/../x`,
        `${workdir}/a/../../x`,
        `${workdir}x`,
        "x",
        "",
        `${workdir}/a\0b`,
      ];
      for (const verb of outside.flatMap((path) => everyVerb(harness, path)))
        await rejects(verb(), { name: "Fault", code: "UNSAFE_PATH" });
    },
  },

  {
    name: "F8: refuses a path that leads through a link, and touches nothing at its end",
    run: async (harness) => {
      await mkdir(at(harness, "links"), { recursive: true });
      await mkdir(join(harness.root, "outside/sub"), { recursive: true });
      await writeFile(join(harness.root, "outside/secret"), "secret");
      await symlink(join(harness.root, "outside"), at(harness, "links/away"));
      const paths = [
        at(harness, "links/away/secret"),
        at(harness, "links/away/sub"),
        at(harness, "links/away/new"),
        at(harness, "links/away/sub/deep"),
      ];
      for (const verb of paths.flatMap((path) => everyVerb(harness, path)))
        await rejects(verb(), { name: "Fault", code: "UNSAFE_PATH" });
      equal((await readdir(join(harness.root, "outside"))).toSorted(), ["secret", "sub"]);
    },
  },

  {
    name: "F8: takes a link for a link: not read, not listed, replaced and removed itself",
    run: async (harness) => {
      await mkdir(at(harness, "link"), { recursive: true });
      await mkdir(join(harness.root, "elsewhere"), { recursive: true });
      await writeFile(join(harness.root, "elsewhere/secret"), "secret");
      await symlink(join(harness.root, "elsewhere/secret"), at(harness, "link/file"));
      await symlink(join(harness.root, "elsewhere"), at(harness, "link/directory"));
      await symlink("nowhere", at(harness, "link/broken"));
      for (const name of ["file", "directory", "broken"]) {
        like(await harness.host.files.stat(at(harness, "link", name), callContext()), { type: "link" });
        equal(await harness.host.files.read(at(harness, "link", name), { maxBytes: 10 }, callContext()), undefined);
        equal(await harness.host.files.list(at(harness, "link", name), callContext()), undefined);
      }
      await harness.host.files.write(at(harness, "link/file"), "ours", { mode: 0o600 }, callContext());
      equal(await readFile(at(harness, "link/file"), "utf8"), "ours");
      equal(await readFile(join(harness.root, "elsewhere/secret"), "utf8"), "secret");
      await rejects(harness.host.files.mkdir(at(harness, "link/directory"), {}, callContext()), { name: "Fault" });
      await harness.host.files.remove(at(harness, "link"), callContext());
      equal(await readdir(join(harness.root, "elsewhere")), ["secret"]);
    },
  },
];

function everyVerb({ host: { files } }: HostHarness, path: string): readonly (() => Promise<unknown>)[] {
  return [
    () => files.read(path, { maxBytes: 10 }, callContext()),
    () => files.write(path, "x", { mode: 0o600 }, callContext()),
    () => files.stat(path, callContext()),
    () => files.mkdir(path, {}, callContext()),
    () => files.list(path, callContext()),
    () => files.remove(path, callContext()),
  ];
}
