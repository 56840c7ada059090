import type { CallContext } from "../common/context.ts";
import { isFault } from "../common/fault.ts";
import { isJsonObject, type JsonObject } from "../common/json.ts";
import { unreachable } from "./answers.ts";
import type { NmdcApi } from "./nmdc-api.ts";
import type { NmdcOperation } from "./nmdc-schemas.ts";
import type { ClaimAnswer } from "./types.ts";

/** A plain claim has no fencing: the number that the contract asks for is always this. */
export const onlyEpoch = 1;

export function siteOf(operation: NmdcOperation): string | undefined {
  const site = operation.metadata["site_id"];
  return typeof site === "string" ? site : undefined;
}

export function isCancelled({ metadata }: NmdcOperation): boolean {
  return metadata["cancelled"] === true;
}

/** Claimed and neither finished nor given up. */
export function isLive(operation: NmdcOperation): boolean {
  return operation.done !== true && !isCancelled(operation);
}

/** What our agents wrote into it; present once a holder has confirmed its claim. */
export function siteagentOf({ metadata }: NmdcOperation): JsonObject | undefined {
  const value = metadata["siteagent"] as JsonObject | undefined;
  return isJsonObject(value) ? value : undefined;
}

/** What a PATCH has to send back so that nothing is lost; the server keeps its own three keys. */
export function ownMetadata({ metadata }: NmdcOperation): JsonObject {
  const { site_id: _site, job: _job, model: _model, ...rest } = metadata as JsonObject;
  return rest;
}

/**
 * Claims on an API that gives a job to whoever asks. The rule that all our agents share: who has confirmed (written
 * `metadata.siteagent`) keeps the job; among unconfirmed claims the smaller op_id does; the others let go.
 */
export class NmdcClaims {
  readonly #api: NmdcApi;
  readonly #site: string;

  constructor(api: NmdcApi, site: string) {
    this.#api = api;
    this.#site = site;
  }

  async claim(job: string, context: CallContext): Promise<ClaimAnswer> {
    let before: readonly NmdcOperation[];
    try {
      before = await this.#standing(job, context);
    } catch (error) {
      if (isFault(error, "NOT_FOUND")) return { state: "refused", reason: error.message };
      throw error;
    }
    const earlier = this.#ownLive(before);
    if (earlier) return this.#decide(job, earlier, before, context);
    const [holder] = before;
    if (holder) return { state: "lost", reason: `site '${siteOf(holder) ?? "?"}' has claimed it` };
    let opId: string;
    try {
      opId = await this.#api.claim(job, context);
    } catch (error) {
      if (isFault(error, "FORBIDDEN", "CLAIM_EXCLUSIVE", "NOT_FOUND", "CONFLICT", "CLAIM_LOST", "INVALID")) {
        return { state: "refused", reason: error.message };
      }
      throw error;
    }
    const after = await this.#standing(job, context);
    const own = after.find(({ id }) => id === opId);
    if (!own) throw unreachable("read-back", `the claim '${opId}' of job '${job}' cannot be read back`);
    return this.#decide(job, this.#ownLive(after) ?? own, after, context);
  }

  /** Looks again before and after the first report: true while the job is ours by the shared rule, else ours is given back. */
  async confirm(job: string, opId: string, written: boolean, context: CallContext): Promise<boolean> {
    const operations = await this.#standing(job, context);
    const own = operations.find(({ id }) => id === opId);
    if (!own) return true; // not listed is no evidence; the operation itself was read
    const rival = written ? this.#confirmedRival(own, operations) : this.#rival(own, operations);
    if (!rival) return true;
    await this.giveBack(job, own, `site '${siteOf(rival) ?? "?"}' holds it by operation '${rival.id}'`, context);
    return false;
  }

  /** Hands our claim back: release first, then close the operation (a released one still counts as running for others). */
  async giveBack(job: string, operation: NmdcOperation, reason: string, context: CallContext): Promise<void> {
    if (isLive(operation)) await this.#api.release(job, context);
    await this.#close(operation, "RELEASED", reason, context);
  }

  /** The claims that keep the job from others: not cancelled, and running, or finished and still named by the job. */
  async #standing(job: string, context: CallContext): Promise<readonly NmdcOperation[]> {
    const { claims } = await this.#api.job(job, context);
    const named = new Set((claims ?? []).flatMap((claim) => (claim.cancelled === true ? [] : [claim.op_id])));
    const operations = await this.#api.operationsOf(job, context);
    return operations.filter((operation) => isLive(operation) || (!isCancelled(operation) && named.has(operation.id)));
  }

  async #decide(
    job: string,
    own: NmdcOperation,
    operations: readonly NmdcOperation[],
    context: CallContext,
  ): Promise<ClaimAnswer> {
    const rival = siteagentOf(own) ? undefined : this.#rival(own, operations);
    if (rival) {
      const reason = `site '${siteOf(rival) ?? "?"}' holds it by operation '${rival.id}'`;
      await this.#api.release(job, context);
      for (const operation of operations) {
        if (siteOf(operation) === this.#site && isLive(operation)) {
          await this.#close(operation, "CLAIM_LOST", reason, context);
        }
      }
      return { state: "lost", reason };
    }
    for (const operation of operations) {
      const extra = siteOf(operation) === this.#site && isLive(operation) && operation.id !== own.id;
      if (extra) await this.#close(operation, "DUPLICATE_CLAIM", `superseded by '${own.id}'`, context);
    }
    return { state: "won", opId: own.id, epoch: onlyEpoch };
  }

  async #close(operation: NmdcOperation, code: string, message: string, context: CallContext): Promise<void> {
    const metadata = { ...ownMetadata(operation), cancelled: true, done: true };
    await this.#api.patch(operation.id, { done: true, result: { code, message }, metadata }, context);
  }

  /** The one of ours that counts: confirmed, else the smallest id. */
  #ownLive(operations: readonly NmdcOperation[]): NmdcOperation | undefined {
    const own = operations.filter((operation) => siteOf(operation) === this.#site && isLive(operation));
    return own.find((operation) => siteagentOf(operation)) ?? smallest(own);
  }

  /** An operation of another site that has the better right, or has finished the job already. */
  #rival(own: NmdcOperation, operations: readonly NmdcOperation[]): NmdcOperation | undefined {
    const others = operations.filter((operation) => siteOf(operation) !== this.#site && !isCancelled(operation));
    const settled = others.find((operation) => operation.done === true || siteagentOf(operation) !== undefined);
    return settled ?? smallest(others.filter(({ id }) => id < own.id));
  }

  #confirmedRival(own: NmdcOperation, operations: readonly NmdcOperation[]): NmdcOperation | undefined {
    return operations.find(
      (operation) => siteOf(operation) !== siteOf(own) && isLive(operation) && siteagentOf(operation) !== undefined,
    );
  }
}

function smallest(operations: readonly NmdcOperation[]): NmdcOperation | undefined {
  let found: NmdcOperation | undefined;
  for (const operation of operations) if (!found || operation.id < found.id) found = operation;
  return found;
}
