import type { CallContext } from "./context.ts";
import type { JsonObject } from "./json.ts";

/** What an adapter gives back for something it started: plain JSON with a version, so that a restarted or upgraded agent can go on. */
export interface Handle {
  /** Kind of the adapter that made it, e.g. `local`, `slurm`. */
  readonly adapter: string;
  readonly version: number;
  /** Opaque outside that adapter. */
  readonly data: JsonObject;
}

export type Probe =
  | { readonly ok: true; readonly version: string; readonly notes?: readonly string[] }
  | { readonly ok: false; readonly reason: string; readonly hint?: string };

/** What launchers, schedulers, transfer adapters and hosts have in common. Constructors only assign; nothing runs before the first verb. */
export interface Adapter extends AsyncDisposable {
  readonly kind: string;
  /** Can it work on this machine now? Never throws. */
  probe(context: CallContext): Promise<Probe>;
}
