import type { SecretPlace } from "../../common/secret-file.ts";

/** How a host is reached; `hosts.NAME.ssh` of the site file after its checks. */
export interface SshSettings {
  /** Names, addresses or aliases of login nodes that are one host: the same account and files. Tried in this order. */
  readonly hosts: readonly string[];
  /** Undefined: as the configuration of ssh says, else the account of this process. */
  readonly user: string | undefined;
  /** Undefined: as the configuration of ssh says, else 22. */
  readonly port: number | undefined;
  /** Undefined: the identity files that the configuration of ssh names. */
  readonly key: SecretPlace | undefined;
  readonly passphrase: SecretPlace | undefined;
  /** Absolute; instead of the account's own files. */
  readonly knownHosts: string | undefined;
  /** `[user@]host[:port]` in the order of the way. Undefined: as the configuration of ssh says; empty: none. */
  readonly jump: readonly string[] | undefined;
  /** Undefined: where there is no `key`. */
  readonly agent: boolean | undefined;
  readonly keepaliveMs: number;
  /** Whether the configuration of ssh counts; a path: this file alone. */
  readonly config: boolean | string;
}
