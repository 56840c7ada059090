/** Starting attempts, each once. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { contains, equal, like } from "../check.ts";
import type { Case } from "../suite.ts";
import { waitFor } from "../wait.ts";
import { type LauncherHarness, context, launchOne, makePlan, statusNow, stopped, untilState } from "./attempts.ts";

export const starts: readonly Case<LauncherHarness>[] = [
  {
    name: "works here, and says in which tier",
    run: async (harness) => {
      const { launcher } = harness;
      like(await launcher.probe(context), { ok: true });
      contains(["cgroup", "unit", "subreaper", "group", "scheduler"], launcher.capabilities.tier);
    },
  },

  {
    name: "knows nothing of what was never launched",
    run: async (harness) => {
      const ref = await makePlan(harness.root, "exit 0");
      equal(await harness.launcher.find([ref], context), [undefined]);
      equal(await statusNow(harness.launcher, ref), { state: "absent" });
    },
  },

  {
    name: "gives one result for each plan, in order",
    run: async (harness) => {
      const plans = await Promise.all([3, 1, 2].map((code) => makePlan(harness.root, `exit ${code}`)));
      const [first, second, third] = plans;
      if (!first || !second || !third) throw new Error("no plans");
      const missing = await makePlan(harness.root, "", { argv: ["nonesuch-program"] });
      const results = await harness.launcher.launch([first, missing, second, third], context);
      like(
        results.map((result) => result.state),
        ["accepted", (state: unknown) => state !== undefined, "accepted", "accepted"],
      );
      const codes = [];
      for (const each of plans) codes.push((await untilState(harness.launcher, each, "ended")).end.exit_code);
      equal(codes, [3, 1, 2]);
    },
  },

  {
    name: "starts a token once, however often and by whomever it is launched",
    run: async (harness) => {
      const once = await makePlan(harness.root, "echo started >> ../count; sleep 0.3");
      const other = harness.reopen();
      try {
        const tries = Array.from({ length: 20 }, (_, index) =>
          (index % 2 ? other : harness.launcher).launch([once], context),
        );
        const results = (await Promise.all(tries)).flat();
        equal(new Set(results.map((result) => result.state)), new Set(["accepted"]));
        await untilState(harness.launcher, once, "ended");
        const [again] = await harness.launcher.launch([once], context);
        equal(again?.state, "accepted");
        equal(await readFile(join(once.workDirectory, "..", "count"), "utf8"), "started\n");
      } finally {
        await other[Symbol.asyncDispose]();
      }
    },
  },

  {
    name: "BAL-15: is found by a restarted agent that has no handle",
    run: async (harness) => {
      const it = await makePlan(harness.root, "sleep 60");
      await launchOne(harness.launcher, it);
      const restarted = harness.reopen();
      try {
        const ref = { token: it.token, directory: it.directory };
        const [handle] = await restarted.find([ref], context);
        like(handle, { version: (version: unknown) => typeof version === "number" });
        await untilState(restarted, { ...ref, handle }, "running");
        await stopped(restarted, { ...ref, handle });
        equal((await statusNow(restarted, ref)).state, "ended");
      } finally {
        await restarted[Symbol.asyncDispose]();
      }
    },
  },

  {
    name: "D11: refuses arguments that are too large, with sizes, and starts nothing",
    run: async (harness) => {
      const large = await makePlan(harness.root, "", { argv: ["echo", "x".repeat(200_000)] });
      const [result] = await harness.launcher.launch([large], context);
      like(result, { state: "refused", end: { cause: "launch" } });
      contains(JSON.stringify(result), "argv[1] has 200000 bytes");
      equal(await harness.launcher.find([large], context), [undefined]);
    },
  },

  {
    name: "calls back when an attempt ends",
    run: async (harness) => {
      const seen = new Set<string>();
      using _watch = harness.launcher.watch((token) => void seen.add(token));
      const it = await makePlan(harness.root, "exit 0");
      await launchOne(harness.launcher, it);
      await waitFor(() => seen.has(it.token), { what: "a call back" });
    },
  },
];
