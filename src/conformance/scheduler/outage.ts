/** A scheduler that cannot be asked. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { equal, like } from "../check.ts";
import type { Case } from "../suite.ts";
import { waitFor } from "../wait.ts";
import {
  type SchedulerHarness,
  canTell,
  cancelled,
  context,
  findOne,
  orderOne,
  over,
  patienceMs,
  request,
  submitted,
  until,
} from "./jobs.ts";

export const outages: readonly Case<SchedulerHarness>[] = [
  {
    name: "E4: nothing is known meanwhile, nothing is said to have ended, and afterwards all is right",
    needs: "outage",
    run: async (harness) => {
      const { scheduler, outage } = harness;
      if (outage === undefined) return;
      const running = await submitted(harness, "sleep 600");
      const short = await submitted(
        harness,
        'while ! test -e "$PWD/on-$SITEAGENT_NATIVE_ID"; do sleep 0.2; done; exit 9',
      );
      await until(harness, running, "running");
      await until(harness, short, "running");
      const late = request(harness, "exit 0");
      {
        await using _outage = await outage();
        await mkdir(join(harness.workdir, `on-${short.id}`));
        // Together: each takes as long as its command tries to reach the scheduler.
        const [statuses, found, cancelling, submitting, probe] = await Promise.all([
          scheduler.statuses([running, short], context),
          findOne(scheduler, running.token),
          orderOne(scheduler.cancel([running], context)),
          scheduler.submit([late], context),
          scheduler.probe(context),
        ]);
        equal(
          statuses.map(({ state }) => state),
          ["unknown", "unknown"],
        );
        equal(found.state, "unknown");
        equal(cancelling.state, "unknown");
        equal(submitting[0]?.state, "unclear");
        like(probe, { ok: false, reason: /\w/ });
      }
      const verdict = await over(harness, short);
      if (canTell(harness)) like(verdict, { kind: "failed", exitCode: 9 });
      const found = await waitFor(
        async () => {
          const result = await findOne(scheduler, late.token);
          return result.state === "unknown" ? undefined : result;
        },
        { what: "an answer about the late submission", timeoutMs: patienceMs },
      );
      equal(found.state, "absent");
      await cancelled(harness, running);
    },
  },
];
