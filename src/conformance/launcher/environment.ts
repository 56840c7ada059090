/** What a command sees. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { equal, holds, like } from "../check.ts";
import type { Case } from "../suite.ts";
import { type LauncherHarness, launchOne, makePlan, readOut, untilState } from "./attempts.ts";

export const environments: readonly Case<LauncherHarness>[] = [
  {
    name: "is exactly the plan's",
    run: async (harness) => {
      const environment = { PATH: "/usr/bin:/bin", ODD: "a 'b' \"c\" $d `e` \\ \nnext line", EMPTY: "" };
      const it = await makePlan(harness.root, "", { argv: ["/usr/bin/env", "-0"], environment });
      await launchOne(harness.launcher, it);
      await untilState(harness.launcher, it, "ended");
      const lines = (await readOut(it)).split("\0").filter(Boolean);
      const found = Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2))) as object;
      if (harness.scheduled !== true) equal(found, environment);
      else like(found, environment);
      holds(!Object.hasOwn(found, "OLDPWD"), "OLDPWD is set");
    },
  },

  {
    name: "BAL-20: arguments arrive as they are",
    run: async (harness) => {
      const odd = ["", " ", "a b", "'", '"', "$HOME", "`id`", "\\", "*", "-n", "line\nline", "ü€", "%s"];
      const it = await makePlan(harness.root, "", { argv: ["printf", "[%s]\\n", ...odd] });
      await launchOne(harness.launcher, it);
      await untilState(harness.launcher, it, "ended");
      equal(await readOut(it), odd.map((text) => `[${text}]\n`).join(""));
    },
  },

  {
    name: "working directory, umask, empty stdin, output to files",
    run: async (harness) => {
      const it = await makePlan(harness.root, "pwd -P; umask; cat; echo problem >&2; touch new; exit 0", {
        umask: 0o027,
      });
      await launchOne(harness.launcher, it);
      await untilState(harness.launcher, it, "ended");
      equal(await readOut(it), `${it.workDirectory}\n0027\n`);
      equal(await readOut(it, "err"), "problem\n");
      equal((await stat(join(it.workDirectory, "new"))).mode & 0o777, 0o640);
      equal((await stat(join(it.directory, "out"))).mode & 0o077, 0);
    },
  },
];
