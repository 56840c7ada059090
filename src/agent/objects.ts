/** Inputs that name an object of the central API: where its bytes lie, and what it promises of them. */
import type { CentralObject } from "../central/types.ts";
import type { CallContext } from "../common/context.ts";
import { Fault, isFault } from "../common/fault.ts";
import type { JsonObject } from "../common/json.ts";
import { quoted } from "../common/nearest.ts";
import { type ObjectReference, objectReference } from "../jobs/object-reference.ts";
import type { TransferEngine, TransferItem } from "../transfer/types.ts";
import type { AgentCore } from "./core.ts";

export interface ResolvedItems {
  readonly items: readonly TransferItem[];
  /** Some of the URLs are made for this occasion, and end some minutes later. */
  readonly temporary: boolean;
}

/**
 * Every source that names an object becomes the URL of its first access method that the policy allows; its size and SHA-256 are
 * expected where the app expects nothing of its own. An optional object that is not there is left out.
 * @throws Fault POLICY when no access method is allowed, TRANSFER_REFUSED for what is no file of the central API
 */
export async function resolveObjects(
  { central, parts }: Pick<AgentCore, "central" | "parts">,
  items: readonly TransferItem[],
  context: CallContext,
): Promise<ResolvedItems> {
  const resolved: TransferItem[] = [];
  let temporary = false;
  for (const item of items) {
    const reference = objectReference(item.source);
    if (!reference) {
      resolved.push(item);
      continue;
    }
    const what = `input ${quoted(item.name)}: object ${quoted(reference.id, 100)}`;
    const object = await lookUp({ central, parts }, reference, what, context);
    if (!object) {
      if (!item.required) continue;
      throw refused(`${what} is not known to the central API`, { missing: true });
    }
    checkFile(item, object, what);
    const { url, isTemporary } = await chooseUrl({ central, transfers: parts.transfers }, object, what, context);
    temporary ||= isTemporary;
    resolved.push({
      ...item,
      source: url,
      expectedSize: item.expectedSize ?? object.size,
      expectedSha256: item.expectedSha256 ?? sha256Of(object),
    });
  }
  return { items: resolved, temporary };
}

async function lookUp(
  { central, parts }: Pick<AgentCore, "central" | "parts">,
  { id, host }: ObjectReference,
  what: string,
  context: CallContext,
): Promise<CentralObject | undefined> {
  const object = await central.object(id, context);
  // The API may be reached by another name than the one that its own references have.
  const named = object?.selfUri === undefined ? undefined : objectReference(object.selfUri)?.host;
  if (!object || host === undefined || host === new URL(parts.site.api.url).host || host === named) return object;
  throw refused(`${what}: ${quoted(host, 200)} is not the central API, whose objects alone are looked up`);
}

function checkFile({ kind }: TransferItem, { accessMethods, isBundle }: CentralObject, what: string): void {
  if (kind !== "file") throw refused(`${what} is one file, the input is of kind '${kind}'`);
  if (accessMethods.length > 0) return;
  throw refused(`${what} ${isBundle ? "is a bundle of others, not a file" : "has no access method"}`);
}

async function chooseUrl(
  { central, transfers }: { readonly central: AgentCore["central"]; readonly transfers: TransferEngine },
  object: CentralObject,
  what: string,
  context: CallContext,
): Promise<{ readonly url: string; readonly isTemporary: boolean }> {
  const reasons: string[] = [];
  let remedy: string | undefined;
  for (const { url: fixed, accessId, needsHeaders } of object.accessMethods) {
    const found = fixed === undefined ? await resolvedAccess(central, object.id, accessId, context) : { url: fixed };
    if (needsHeaders || "headers" in found) {
      reasons.push(`${quoted(accessId ?? "access_url", 100)} needs headers of its own`);
    } else if ("problem" in found) {
      reasons.push(found.problem);
    } else {
      const verdict = transfers.judgeSource(found.url);
      if (verdict.allowed) return { url: found.url, isTemporary: fixed === undefined };
      reasons.push(`${quoted(verdict.url, 300)}: ${verdict.reason}`);
      remedy ??= verdict.remedy;
    }
  }
  throw new Fault("POLICY", `${what} has no access method that can be used: ${reasons.join("; ")}`, {
    ...(remedy === undefined ? {} : { hint: remedy }),
    details: { object: object.id },
  });
}

type Access = { readonly url: string } | { readonly problem: string } | { readonly headers: true };

async function resolvedAccess(
  central: AgentCore["central"],
  id: string,
  accessId: string | undefined,
  context: CallContext,
): Promise<Access> {
  if (accessId === undefined) return { problem: "one has neither access_url nor access_id" };
  try {
    const { url, needsHeaders } = await central.objectAccess(id, accessId, context);
    return needsHeaders ? { headers: true } : { url };
  } catch (error) {
    if (!isFault(error, "NOT_FOUND", "INVALID")) throw error;
    return { problem: `access_id ${quoted(accessId, 100)}: ${error.message}` };
  }
}

function sha256Of({ checksums }: CentralObject): string | undefined {
  const found = checksums.find(({ type }) => type.toLowerCase() === "sha256")?.checksum.toLowerCase();
  return found !== undefined && /^[0-9a-f]{64}$/.test(found) ? found : undefined;
}

function refused(message: string, details: JsonObject = {}): Fault {
  return new Fault("TRANSFER_REFUSED", message, { details });
}
