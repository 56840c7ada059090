import type { SecretPlace } from "../../common/secret-file.ts";

/** What a site says of its Globus collection. */
export interface GlobusSettings {
  /** Id of the site's own collection, lower case. */
  readonly collection: string;
  /** Local directories (absolute) and what the collection calls them, both without a slash at the end but for `/` itself. */
  readonly paths: readonly GlobusPath[];
  /** Client id with a refresh token, or with a client secret, as JSON. */
  readonly credentials: SecretPlace;
  /** Base of the Transfer API, without a slash at the end. */
  readonly api: string;
  /** Base of Globus Auth, alike. */
  readonly auth: string;
  /** Data are encrypted on their way between the collections. */
  readonly encrypt: boolean;
  /** Globus compares the checksums of both ends of each file. */
  readonly checksum: boolean;
  /** A task that is not done by then is ended by Globus, and begun anew. */
  readonly deadlineMs: number;
  /** Directory of the notes of what was submitted; made when it is needed. */
  readonly notes: string;
}

export interface GlobusPath {
  readonly local: string;
  readonly remote: string;
}

/** Waits between looks at a task, milliseconds: the first, and the longest. */
export interface GlobusPace {
  readonly firstMs: number;
  readonly longestMs: number;
}
