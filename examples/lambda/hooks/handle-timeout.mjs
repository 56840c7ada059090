// A handle_timeout hook: gives a job that ran out of time one more attempt, then lets it fail.
// The job comes as JSON in the file SITEAGENT_HOOK_INPUT; the answer goes to SITEAGENT_HOOK_RESULT.
import { readFileSync, writeFileSync } from "node:fs";

const job = JSON.parse(readFileSync(process.env.SITEAGENT_HOOK_INPUT, "utf8"));
const answer =
  job.attempt < 2
    ? {
        outcome: "restart",
        reason: `attempt ${job.attempt} ran out of time; one more`,
        data: { timeouts: job.attempt },
      }
    : { outcome: "fail", reason: `${job.attempt} attempts ran out of time` };
writeFileSync(process.env.SITEAGENT_HOOK_RESULT, JSON.stringify(answer));
