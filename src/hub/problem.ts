/**
 * Error answers. Two readers, one body: FastAPI's `detail` (text, or a list for validation) and the members of RFC 9457 and ours
 * (`code`, `hint`, `retry`) beside it.
 */
import { Fault } from "../common/fault.ts";
import { type FaultCode, faults } from "../common/faults.ts";
import { STATUS_CODES } from "../common/node-http.ts";
import { codeOfRefusal } from "../common/refusals.ts";

/** One entry of a validation list, as pydantic writes it. */
export interface ValidationEntry {
  readonly type: string;
  readonly loc: readonly (string | number)[];
  readonly msg: string;
  readonly input: unknown;
  readonly ctx?: Readonly<Record<string, unknown>>;
}

/** An answer that is an error, with the exact status and words of the contract. */
export class HttpProblem extends Error {
  override readonly name = "HttpProblem";
  readonly status: number;
  readonly detail: string | readonly ValidationEntry[];
  readonly code: FaultCode;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    detail: string | readonly ValidationEntry[],
    options: { code?: FaultCode; headers?: Record<string, string> } = {},
  ) {
    super(typeof detail === "string" ? detail : "the request does not fit its schema");
    this.status = status;
    this.detail = detail;
    this.code = options.code ?? codeOfStatus(status);
    this.headers = options.headers ?? {};
  }
}

/** 401 as every guarded endpoint answers it. */
export function unauthenticated(detail: string): HttpProblem {
  return new HttpProblem(401, detail, { headers: { "www-authenticate": "Bearer" } });
}

/** The contract's 404 for a thing (a path that is no route says `Not Found`). */
export function notFound(detail = "Not found"): HttpProblem {
  return new HttpProblem(404, detail);
}

/** A problem from whatever was thrown: our faults by their row, Fastify's own errors by their status, anything else a 500 without details. */
export function problemOf(error: unknown): HttpProblem {
  if (error instanceof HttpProblem) return error;
  if (error instanceof Fault) return new HttpProblem(error.row.http, error.message, { code: error.code });
  const status = typeof error === "object" && error !== null && "statusCode" in error ? Number(error.statusCode) : 500;
  if (status >= 400 && status < 500 && error instanceof Error) return new HttpProblem(status, error.message);
  return new HttpProblem(500, "Internal Server Error", { code: "DEFECT" });
}

/** The body for a reader that sent this `Accept` header. */
export function problemBody(
  problem: HttpProblem,
  error: unknown,
  accept: string | undefined,
): { type: string; body: object } {
  const row = faults[problem.code];
  const wantsProblem = accept?.includes("application/problem+json") ?? false;
  const hint = error instanceof Fault ? error.hint : undefined;
  const details = error instanceof Fault ? error.details : undefined;
  const list = typeof problem.detail === "string" ? undefined : problem.detail;
  const common = {
    type: "about:blank",
    title: STATUS_CODES[problem.status] ?? "Error",
    status: problem.status,
    code: problem.code,
    retry: row.retry,
    ...(hint === undefined ? {} : { hint }),
    ...(details === undefined ? {} : { details }),
  };
  if (wantsProblem) {
    const body = { ...common, detail: problem.message, ...(list === undefined ? {} : { errors: list }) };
    return { type: "application/problem+json", body };
  }
  return { type: "application/json", body: { detail: problem.detail, ...common } };
}

function codeOfStatus(status: number): FaultCode {
  switch (status) {
    case 429:
      return "RATE_LIMITED";
    case 501:
      return "UNSUPPORTED";
    case 503:
      return "STORE";
    default:
      return codeOfRefusal(status) ?? (status >= 500 ? "DEFECT" : "USAGE");
  }
}
