/** Submitting, and finding again what was submitted. */
import { readFile } from "node:fs/promises";
import { newToken } from "../../common/token.ts";
import { contains, equal, lacks, like, NotKept } from "../check.ts";
import type { Case } from "../suite.ts";
import { waitFor } from "../wait.ts";
import {
  type SchedulerHarness,
  cancelled,
  context,
  endsWith,
  findOne,
  idsOf,
  jobOf,
  logOf,
  minutesAgo,
  over,
  patienceMs,
  request,
  submitted,
} from "./jobs.ts";

export const submits: readonly Case<SchedulerHarness>[] = [
  {
    name: "works here, and says where ended jobs can be asked for",
    run: async (harness) => {
      const { scheduler } = harness;
      like(await scheduler.probe(context), { ok: true, version: /\d/ });
      contains(["accounting", "queue", "none"], scheduler.capabilities.history);
    },
  },

  {
    name: "runs the script in its directory, with its variables, its log and nothing of the agent's environment",
    run: async (harness) => {
      process.env["SITEAGENT_TEST_AGENT_ONLY"] = "agent-only";
      const job = await submitted(
        harness,
        `echo "at $PWD"; echo "task $SITEAGENT_TASK"; echo "id $SITEAGENT_NATIVE_ID"; echo "restarts '$SITEAGENT_RESTARTS'"
echo "odd 'x' \\"y\\" \\\\ ü €"; /usr/bin/env; echo "to stderr" >&2; echo last`,
      ).finally(() => delete process.env["SITEAGENT_TEST_AGENT_ONLY"]);
      await over(harness, job);
      const log = await waitFor(async () => endsWith(await readFile(logOf(harness, job.token), "utf8"), "last\n"), {
        what: "the log",
        timeoutMs: patienceMs,
      });
      contains(log, `at ${harness.workdir}\n`);
      contains(log, "task 0\n");
      contains(log, `id ${job.id}\n`);
      like(log, /restarts '0?'\n/);
      contains(log, `odd 'x' "y" \\ ü €\n`);
      lacks(log, "agent-only");
    },
  },

  {
    name: "a wrong request is rejected in the scheduler's words, and nothing of it is there",
    run: async (harness) => {
      const { scheduler, small, wrongQueue } = harness;
      const wrong = request(harness, "exit 0", { placement: { ...small.placement, queue: wrongQueue } });
      const [result] = await scheduler.submit([wrong], context);
      like(result, { state: "rejected", reason: /\w{4}/ });
      equal(await findOne(scheduler, wrong.token), { state: "absent" });
    },
  },

  {
    name: "a value that would end its line is refused, and nothing of it is there",
    run: async (harness) => {
      const { scheduler, small } = harness;
      const evil = request(harness, "exit 0", { placement: { ...small.placement, account: "x\ntouch /tmp/evil" } });
      const [result] = await scheduler.submit([evil], context);
      like(result, { state: "rejected", reason: /control character/ });
      equal(await findOne(scheduler, evil.token), { state: "absent" });
    },
  },

  {
    name: "gives one result for each request, in order",
    run: async (harness) => {
      const { scheduler, small, wrongQueue } = harness;
      const requests = [
        request(harness, "exit 4"),
        request(harness, "exit 0", { placement: { ...small.placement, queue: wrongQueue } }),
        request(harness, "exit 5"),
      ];
      const [first, wrong, last] = await scheduler.submit(requests, context);
      equal(wrong?.state, "rejected");
      const jobs = [jobOf(first), jobOf(last)];
      equal(
        jobs.map(({ token }) => token),
        [requests[0]?.token, requests[2]?.token],
      );
      equal(new Set(jobs.map(({ id }) => id)).size, 2);
      for (const job of jobs) await over(harness, job);
    },
  },
];

export const finds: readonly Case<SchedulerHarness>[] = [
  {
    name: "a job by its token while it is there, and none by another",
    run: async (harness) => {
      const { scheduler } = harness;
      const job = await submitted(harness, "sleep 600");
      try {
        const unknown = newToken();
        const wanted = [unknown, job.token].map((token) => ({ token, since: minutesAgo(10) }));
        const [none, found] = await scheduler.find(wanted, context);
        equal(none, { state: "absent" });
        equal(idsOf(found), [job.id]);
      } finally {
        await cancelled(harness, job);
      }
    },
  },

  {
    name: "a job by its token after its end",
    needs: "history",
    run: async (harness) => {
      const job = await submitted(harness, "exit 0");
      await over(harness, job);
      equal(idsOf(await findOne(harness.scheduler, job.token)), [job.id]);
    },
  },
  {
    name: "both of a double submission, the oldest first, and what it found can be followed and cancelled",
    run: async (harness) => {
      const { scheduler, small, waiting } = harness;
      const wanted = request(harness, "sleep 600", { placement: { ...small.placement, native: waiting } });
      const first = jobOf((await scheduler.submit([wanted], context))[0]);
      // Schedulers tell the time of a submission in whole seconds: two in the same one have no order but that of their ids.
      const second = jobOf((await scheduler.submit([wanted], context))[0]);
      try {
        const found = await findOne(scheduler, wanted.token);
        equal(idsOf(found), [first.id, second.id]);
        if (found.state !== "found") throw new NotKept("not found");
        const statuses = await scheduler.statuses(found.jobs, context);
        equal(
          statuses.map(({ state }) => state),
          ["queued", "queued"],
        );
        equal(
          found.jobs.map(({ token }) => token),
          [wanted.token, wanted.token],
        );
      } finally {
        await cancelled(harness, first);
        await cancelled(harness, second);
      }
    },
  },
];
