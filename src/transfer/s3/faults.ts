/** What a store's refusals mean to a transfer. Codes: "Error responses" of the Amazon S3 API reference. */
import { Fault } from "../../common/fault.ts";
import type { JsonObject } from "../../common/json.ts";
import { formatDuration } from "../../common/units.ts";
import { single } from "../http/headers.ts";
import { statusFault } from "../http/status.ts";
import type { HttpHeaders } from "../http/client.ts";
import type { S3Store } from "./types.ts";

/** A refusal as it came; `code` is empty where the body told none. */
export interface Refusal {
  readonly status: number;
  readonly headers: HttpHeaders;
  readonly code: string;
  /** Bounded, without control characters and secrets. */
  readonly message: string;
  /** The region that the store asks for. */
  readonly region: string | undefined;
}

/** May succeed when asked again, whatever their status. */
const passing = new Set([
  "SlowDown",
  "ServiceUnavailable",
  "InternalError",
  "RequestTimeout",
  "RequestTimeoutException",
  "Throttling",
  "ThrottlingException",
  "TooManyRequests",
  "RequestLimitExceeded",
  "BandwidthLimitExceeded",
  "OperationAborted",
  "ConditionalRequestConflict",
  "BadDigest",
  "XAmzContentSHA256Mismatch",
  "XAmzContentChecksumMismatch",
  "IncompleteBody",
]);

/** Keys that are not valid any more: newer ones may lie in their place. */
const stale = new Set([
  "ExpiredToken",
  "ExpiredTokenException",
  "TokenRefreshRequired",
  "InvalidToken",
  "InvalidAccessKeyId",
  "SignatureDoesNotMatch",
]);

const elsewhere = new Set([
  "PermanentRedirect",
  "TemporaryRedirect",
  "AuthorizationHeaderMalformed",
  "IllegalLocationConstraintException",
]);

/** True where other keys might help. */
export function isStaleKey({ code }: Refusal): boolean {
  return stale.has(code);
}

/** The fault for a refusal. `what`: the object or bucket, in quotes. */
export function refusalFault(what: string, store: S3Store, refusal: Refusal, now: number): Fault {
  const { status, code } = refusal;
  const told = `${what} is refused by ${store.label}: ${said(refusal)}`;
  const details = { status, ...(code === "" ? {} : { s3_code: code }) };
  if (code === "RequestTimeTooSkewed") return skewed(told, refusal, now, details);
  if (elsewhere.has(code) || (status >= 300 && status < 400)) return inOtherRegion(told, store, refusal, details);
  if (code === "NoSuchKey") {
    return new Fault("TRANSFER_REFUSED", `${what} does not exist`, { details: { ...details, missing: true } });
  }
  if (code === "ExpiredToken" || code === "ExpiredTokenException" || code === "TokenRefreshRequired") {
    const hint = `renew the credentials of remote '${store.label}'; they are read anew by the next try`;
    return new Fault("TRANSFER", told, { details, hint });
  }
  if (passing.has(code)) return new Fault("TRANSFER", told, { details: { ...details, ...waitOf(what, refusal, now) } });
  if (code === "NotImplemented") return new Fault("TRANSFER_REFUSED", told, { details });
  if (code === "") return withoutCode(what, told, refusal, now, details);
  if (status >= 500) return new Fault("TRANSFER", told, { details: { ...details, ...waitOf(what, refusal, now) } });
  const hint = hintOf(code, store);
  return new Fault("TRANSFER_REFUSED", told, { details, ...(hint === undefined ? {} : { hint }) });
}

function said({ status, code, message }: Refusal): string {
  return `${status}${code === "" ? "" : ` ${code}`}${message === "" ? "" : `, ${message}`}`;
}

function waitOf(what: string, refusal: Refusal, now: number): JsonObject {
  const wait = statusFault(what, { ...refusal, status: 503 }, now).details?.["retry_after_ms"];
  return wait === undefined ? {} : { retry_after_ms: wait };
}

/** By the status alone: a proxy's page, or an answer without a body. */
function withoutCode(what: string, told: string, refusal: Refusal, now: number, details: JsonObject): Fault {
  const fault = statusFault(what, refusal, now);
  // Without a word of the store a missing bucket looks like a missing object.
  return new Fault(fault.code, told, {
    details: { ...fault.details, ...details },
    ...(fault.hint === undefined ? {} : { hint: "check the credentials of this remote, and its policy at the store" }),
  });
}

function skewed(told: string, refusal: Refusal, now: number, details: JsonObject): Fault {
  const there = Date.parse(single(refusal.headers, "date") ?? "");
  const apart = Number.isNaN(there) ? "" : `; the clocks are ${formatDuration(Math.abs(there - now))} apart`;
  return new Fault("TRANSFER", `${told}${apart}`, {
    hint: "set the clock of this machine (chrony, NTP), or that of the store",
    details,
  });
}

function inOtherRegion(told: string, store: S3Store, refusal: Refusal, details: JsonObject): Fault {
  const { region } = refusal;
  const where = region === undefined ? "" : `; bucket '${store.bucket}' asks for region '${region}'`;
  return new Fault("TRANSFER_REFUSED", `${told}${where}`, {
    hint:
      region === undefined || region === store.settings.region
        ? `correct 'endpoint' of remote '${store.label}'`
        : `set 'region: ${region}' of remote '${store.label}', and an endpoint of that region`,
    details,
  });
}

function hintOf(code: string, { label, bucket }: S3Store): string | undefined {
  switch (code) {
    case "AccessDenied":
    case "AllAccessDisabled":
      return `the account of remote '${label}' may not do this in bucket '${bucket}', or nothing is there and it may not list`;
    case "InvalidAccessKeyId":
    case "InvalidToken":
    case "SignatureDoesNotMatch":
      return `check the credentials of remote '${label}'`;
    case "InvalidObjectState":
      return "the object lies in an archive tier: have it restored first";
    case "NoSuchBucket":
      return `make bucket '${bucket}' there, or correct 'buckets' and 'endpoint' of remote '${label}'`;
    default:
      return undefined;
  }
}
