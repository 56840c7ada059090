/** What the Transfer API and Globus Auth refuse, as faults. Codes: docs.globus.org/api/transfer, "Errors" of each operation. */
import { Fault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { missingSource } from "../errors.ts";

/** The parts of an error document that are used. */
export interface Refusal {
  readonly status: number;
  /** `ClientError.NotFound`, `EndpointPermissionDenied`, …; empty where the answer was no error document. */
  readonly code: string;
  readonly message: string;
  readonly requestId: string | undefined;
  readonly retryAfterMs: number | undefined;
  /** Of `ConsentRequired`. */
  readonly scopes: readonly string[];
}

/** The fault for a refusal while `what` was asked for. */
export function refusalFault(refusal: Refusal, what: string): Fault {
  const { status, code, retryAfterMs, requestId } = refusal;
  const says = `${what}: Globus says ${quoted(code === "" ? String(status) : code)}${wordsOf(refusal)}`;
  const details = {
    status,
    globus_code: code,
    ...(requestId === undefined ? {} : { request_id: requestId }),
  };
  const login = loginHint(refusal);
  if (login !== undefined) return loginFault(says, login, details);
  if (status === 404 || /(^|\.)NotFound$/.test(code)) {
    return new Fault("TRANSFER_REFUSED", missingSource(what).message, { details: { ...details, missing: true } });
  }
  if (status === 429 || status === 503 || status === 408) {
    const wait = retryAfterMs === undefined ? {} : { retry_after_ms: retryAfterMs };
    return new Fault("TRANSFER", says, { details: { ...details, ...wait } });
  }
  if (lasting.test(code) || (status >= 400 && status < 500 && status !== 409)) {
    const hint = /PermissionDenied/.test(code) ? "the identity of globus.credentials needs the right to it" : undefined;
    return new Fault("TRANSFER_REFUSED", says, { details, ...(hint === undefined ? {} : { hint }) });
  }
  return new Fault("TRANSFER", says, { details });
}

/** Refusals under a passing status (502: the collection's server said so) that no second try will change. */
const lasting = /\.(NotDirectory|SizeLimit|PermissionDenied|InvalidPath)$/;

/** What a person has to do before another try makes sense. */
function loginHint({ status, code, scopes }: Refusal): string | undefined {
  if (code === "ConsentRequired") {
    const wanted = scopes.length === 0 ? "the scopes that it asks for" : scopes.join(" ");
    return `log in again for the refresh token with consent to ${wanted}`;
  }
  if (/LoginFailed$/.test(code)) return "the collection does not accept this identity, or its session has expired";
  if (status === 401) return "look at globus.credentials: the token was refused although it is new";
  return undefined;
}

/** For what waits until a person has looked: the engine tries it no second time, the job waits. */
export function loginFault(message: string, hint: string, details: Readonly<Record<string, unknown>> = {}): Fault {
  return new Fault("UNREACHABLE", message, {
    hint: `${hint}; then: siteagent reload`,
    details: { ...details, why: "login" },
  });
}

/** The first line: servers' own messages follow in the next ones. */
function wordsOf({ message }: Refusal): string {
  const [first = ""] = message.split(/[\r\n]/);
  return first === "" ? "" : `: ${quoted(first, 200)}`;
}
