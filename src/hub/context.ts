import type { Clock } from "../common/clock.ts";
import type { Logger } from "../common/logger.ts";
import type { TokenKeys } from "./auth/keys.ts";
import type { HubConfig } from "./config.ts";
import type { Store, Tx } from "./store/types.ts";

/** Types that an object has got, told inside the transaction that gave them. */
export interface TypesAssigned {
  readonly objectId: string;
  /** The whole new list. */
  readonly types: readonly string[];
  readonly at: number;
  /** `user:…`, `client:…`, `anonymous`. */
  readonly actor: string;
}

/** What every part of the hub gets. No state that another hub process would miss. */
export interface HubContext {
  readonly store: Store;
  readonly config: HubConfig;
  readonly clock: Clock;
  readonly log: Logger;
  readonly keys: TokenKeys;
  /** Without a slash at the end; what clients use to reach this hub. */
  baseUrl(): string;
  /** Called in the same transaction; the triggers hang here, so that assigning a type and the job it makes are one. */
  readonly typesAssigned: ((tx: Tx, change: TypesAssigned) => Promise<void>)[];
  /** What `GET /version` names under `siteagent.features`. */
  readonly features: string[];
}
