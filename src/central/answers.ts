import { z } from "zod";
import { Fault } from "../common/fault.ts";
import { type FaultCode, faults } from "../common/faults.ts";
import { isJsonObject, type JsonObject } from "../common/json.ts";
import { codeOfRefusal } from "../common/refusals.ts";
import { hostility, parseStrictJson } from "./strict-json.ts";
import { retryAfterMs } from "./times.ts";

export interface AnswerHead {
  readonly status: number;
  readonly contentType: string;
  readonly contentEncoding: string;
  readonly retryAfter: string | undefined;
  readonly location: string | undefined;
  readonly dateMs: number | undefined;
}

/** What errors of the API look like: FastAPI's `detail`, and beside it the hub's own members. */
const problemSchema = z.object({
  detail: z.union([z.string(), z.array(z.unknown()), z.looseObject({})]),
  code: z.string().optional(),
  hint: z.string().optional(),
  details: z.looseObject({}).optional(),
});
type Problem = z.output<typeof problemSchema>;

/** A fault that says: nothing is known. `kind`: why the answer is none. */
export function unreachable(
  kind: string,
  message: string,
  details: JsonObject = {},
  cause?: unknown,
  hint?: string,
): Fault {
  return new Fault("UNREACHABLE", message, {
    details: { kind, ...details },
    ...(cause === undefined ? {} : { cause }),
    ...(hint === undefined ? {} : { hint }),
  });
}

/**
 * The fault of an answer, or undefined when it is a success with a JSON body. Refusals count only in the API's own shape:
 * the 404 page of a proxy is no word about a job.
 */
export function faultOfAnswer(
  head: AnswerHead,
  text: string,
  time: { readonly nowMs: number; readonly random: () => number },
): Fault | undefined {
  const { status } = head;
  const json =
    /^application\/(?:problem\+)?json\s*(?:;|$)/i.test(head.contentType) && head.contentEncoding === "identity";
  const waitMs = retryAfterMs(head.retryAfter, time.nowMs, time.random);
  const wait: JsonObject = waitMs === undefined ? {} : { retry_after_ms: waitMs };
  if (status === 429)
    return new Fault("RATE_LIMITED", "the API asks for fewer calls", { details: { status, ...wait } });
  if (status >= 300 && status < 400) {
    return unreachable(
      "redirect",
      `the API redirects to '${hostOf(head.location)}', which is not followed`,
      { status },
      undefined,
      "look at api.url",
    );
  }
  if (status >= 500 || status === 408 || status === 425) {
    return unreachable("status", `the API answers with status '${status}'`, { status, ...wait });
  }
  if (!json) {
    const type = head.contentType.slice(0, 100);
    return unreachable("no-json", `the answer with status '${status}' has content type '${type}', not JSON`, {
      status,
    });
  }
  if (status >= 200 && status < 300) return undefined;
  const problem = parseProblem(text);
  if (!problem)
    return unreachable("no-api-error", `the answer with status '${status}' is no error of the API`, { status });
  return faultOfProblem(status, problem);
}

function parseProblem(text: string): Problem | undefined {
  try {
    const value = parseStrictJson(text);
    return hostility(value) === undefined ? problemSchema.safeParse(value).data : undefined;
  } catch {
    return undefined;
  }
}

function faultOfProblem(status: number, problem: Problem): Fault {
  const detail = typeof problem.detail === "string" ? problem.detail : JSON.stringify(withoutInput(problem.detail));
  // The router's word for "no such path" has a capital F; about a thing the API says "Not found".
  if (status === 404 && detail === "Not Found") {
    return unreachable("no-such-route", "the API does not know the path: is this the right address?", { status });
  }
  const code = codeOf(status, problem.code);
  if (code === undefined) return unreachable("status", `the API answers with status '${status}'`, { status });
  const given = isJsonObject(problem.details as JsonObject | undefined) ? (problem.details as JsonObject) : {};
  return new Fault(code, detail.slice(0, 2_000), {
    details: { ...given, status },
    ...(problem.hint === undefined ? {} : { hint: problem.hint }),
  });
}

/** A validation list repeats what was sent (`input`): it says nothing that we do not know, and may be a secret. */
function withoutInput(detail: Exclude<Problem["detail"], string>): unknown {
  if (!Array.isArray(detail)) return detail;
  return detail.map((entry: unknown) => {
    if (typeof entry !== "object" || entry === null) return entry;
    return Object.fromEntries(Object.entries(entry).filter(([key]) => key !== "input"));
  });
}

/** The hub names the code itself; on the plain Runtime the status tells. */
function codeOf(status: number, named: string | undefined): FaultCode | undefined {
  if (status === 401) return "UNAUTHENTICATED";
  if (named !== undefined && Object.hasOwn(faults, named) && faults[named as FaultCode].http === status) {
    return named as FaultCode;
  }
  // What is gone is refused for good.
  return codeOfRefusal(status === 410 ? 403 : status);
}

function hostOf(location: string | undefined): string {
  if (location === undefined || !URL.canParse(location)) return "another path";
  return new URL(location).host;
}
