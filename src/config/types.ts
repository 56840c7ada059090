import type { AdapterModule } from "../adapters/types.ts";
import type { LogLevel } from "../common/pino.ts";
import type { JsonObject } from "../common/json.ts";
import type { App } from "../jobs/app.ts";
import type { GpuVendor } from "../jobs/gpus.ts";
import type { S3Settings } from "../transfer/s3/types.ts";

/** Where a secret lies; the secret itself is in no object of the configuration. Read it with `readSecret` each time it is used. */
export interface SecretRef {
  /** Absolute. */
  readonly path: string;
  /** How the site file names it, for messages: a path or `credential NAME`. */
  readonly label: string;
}

export interface SiteApi {
  /** Without a slash at the end. */
  readonly url: string;
  readonly clientId: string;
  readonly clientSecret: SecretRef;
  /** `auto`: hub extensions are used when `GET /version` offers them. */
  readonly dialect: "auto" | "nmdc" | "hub";
  /** Shortest time between two polls. */
  readonly pollMs: number;
  /** Time limit of one call that is no long poll. */
  readonly timeoutMs: number;
  /** Absolute; certificates trusted besides the system's. */
  readonly caFile: string | undefined;
}

export interface SiteAgent {
  /** Absolute. */
  readonly stateDir: string;
  /** Absolute; holds the control socket. */
  readonly runtimeDir: string;
  readonly logLevel: LogLevel;
  /** What central is told: `minimal` = no path, host, user name or log text. */
  readonly report: "minimal" | "full";
  /** How long directories of ended jobs stay. */
  readonly keepMs: number;
  /** Jobs held at the same time, staged and waiting ones included. */
  readonly maxJobs: number;
  /** Names of the agent's environment variables that attempts and hooks may see. */
  readonly environment: readonly string[];
  /** `PATH` of attempts and hooks. */
  readonly path: string;
  /** Below this free space in a work directory nothing new is claimed. */
  readonly minFreeSpaceBytes: number;
  /** False: follow what is held, claim nothing new. */
  readonly claim: boolean;
}

interface AnyHost {
  readonly name: string;
  /** Absolute. */
  readonly workdir: string;
  /** `PATH` of schedulers' commands. */
  readonly path: string;
  /** Further variables of theirs, by name. */
  readonly environment: Readonly<Record<string, string>>;
}

/** This machine. */
export interface LocalSiteHost extends AnyHost {
  readonly kind: "local";
}

/** A machine reached by SSH; `workdir` lies there. */
export interface SshSiteHost extends AnyHost {
  readonly kind: "ssh";
  readonly ssh: SiteSsh;
}

/** A host of the site's own kind; `workdir` lies there. */
export interface OwnSiteHost extends AnyHost {
  readonly kind: "own";
  /** Name under `adapters`. */
  readonly adapter: string;
}

export type SiteHost = LocalSiteHost | SshSiteHost | OwnSiteHost;

/** An adapter of the site's own, loaded; its options as its schema made them. */
export interface SiteAdapter {
  /** What the site file calls it. */
  readonly name: string;
  readonly type: AdapterModule["type"];
  /** Absolute path of its module. */
  readonly path: string;
  /** Changes when the module's file or the options do. */
  readonly digest: string;
  readonly options: unknown;
  readonly adapter: AdapterModule;
}

/** How a host is reached, as src/hosts/ssh/settings.ts explains. */
export interface SiteSsh {
  readonly hosts: readonly string[];
  readonly user: string | undefined;
  readonly port: number | undefined;
  readonly key: SecretRef | undefined;
  readonly passphrase: SecretRef | undefined;
  /** Absolute. */
  readonly knownHosts: string | undefined;
  readonly jump: readonly string[] | undefined;
  readonly agent: boolean | undefined;
  readonly keepaliveMs: number;
  /** A path is absolute. */
  readonly config: boolean | string;
}

/** A short name for a URL: `archive:/x` stands for `<url>/x`. */
export interface SiteRemote {
  /** `sftp://NAME/path` (or `rsync:`) for one that is reached by SSH, `s3://NAME/path` for an object store. */
  readonly url: string;
  /** Files moved at the same time; undefined: as many as usual. */
  readonly files: number | undefined;
  /** Over all jobs, both directions together; undefined: no limit. */
  readonly bytesPerSecond: number | undefined;
  readonly sftp: SiteSftp | undefined;
  readonly s3: SiteS3 | undefined;
}

/** How an object store is reached, and how objects are moved, as src/transfer/s3/types.ts explains. */
export interface SiteS3 extends Omit<S3Settings, "keys"> {
  /** The first is the remote's own. */
  readonly buckets: readonly [string, ...string[]];
  readonly keys: SiteKeys;
}

/** Where its keys come from. */
export type SiteKeys =
  | { readonly kind: "anonymous" | "instance" | "container" }
  | { readonly kind: "file"; readonly file: SecretRef; readonly profile: string }
  | {
      readonly kind: "keys";
      readonly accessKey: SecretRef;
      readonly secretKey: SecretRef;
      readonly sessionToken: SecretRef | undefined;
    };

/** How a remote is reached, and how its files are moved, as src/transfer/sftp/types.ts explains. */
export interface SiteSftp {
  readonly ssh: SiteSsh;
  readonly verify: "digest" | "sample" | "size";
  readonly existing: "replace" | "refuse";
  readonly shell: boolean;
  readonly preserve: boolean;
}

/** The site's Globus collection, as src/transfer/globus/types.ts explains. */
export interface SiteGlobus {
  readonly collection: string;
  readonly paths: readonly { readonly local: string; readonly remote: string }[];
  readonly credentials: SecretRef;
  readonly api: string;
  readonly auth: string;
  readonly encrypt: boolean;
  readonly checksum: boolean;
  readonly deadlineMs: number;
}

/** A named place to run: host + launcher. */
export interface SiteTarget {
  readonly name: string;
  readonly host: string;
  /** Kind in the registry of launchers. */
  readonly launcher: string;
  /** Attempts at the same time. */
  readonly slots: number;
  /** What all attempts together may use; undefined = not counted. */
  readonly cores: number | undefined;
  readonly memoryBytes: number | undefined;
  readonly gpus: number | undefined;
  /** Whose they are, and which: as many as `gpus`. None where they are not counted or a scheduler gives them. */
  readonly gpuVendor: GpuVendor;
  readonly gpuIds: readonly string[];
  /** A scheduler gives each attempt nodes, cores and GPUs of its own; false: attempts share a machine. */
  readonly allocation: boolean;
  /** Attempts share cores: on one machine, or packed onto the nodes of an allocation. */
  readonly shared: boolean;
  /** The launcher's own settings, checked by its schema. */
  readonly settings: JsonObject;
}

/** What URLs a site reads from and writes to, as src/transfer/policy.ts reads it. */
export interface SitePolicy {
  readonly sources: readonly string[];
  readonly destinations: readonly string[];
  readonly allow_private: readonly string[];
  /** Container images that may run; empty: those that the file itself names. */
  readonly images: readonly string[];
}

/** Where inputs are kept for later jobs, as src/transfer/cache/index.ts explains. */
export interface SiteCache {
  /** Absolute. */
  readonly directory: string;
  readonly maxBytes: number;
  readonly placing: "copy" | "link";
  readonly trust: "version" | "digest";
  /** `agent.min_free_space` */
  readonly minFreeBytes: number;
}

/** A site file after parsing, defaults and all checks. Immutable; a job keeps the digest it started with. */
export interface Site {
  /** Absolute path of the file. */
  readonly file: string;
  /** SHA-256 of the effective settings (not of comments or layout); 64 hexadecimal digits. */
  readonly digest: string;
  /** Who we are. */
  readonly id: string;
  readonly api: SiteApi;
  readonly agent: SiteAgent;
  /** By name. */
  readonly adapters: Readonly<Record<string, SiteAdapter>>;
  readonly hosts: Readonly<Record<string, SiteHost>>;
  readonly targets: Readonly<Record<string, SiteTarget>>;
  /** Apps and policy are compiled with the URL in the place of the name. */
  readonly remotes: Readonly<Record<string, SiteRemote>>;
  readonly globus: SiteGlobus | undefined;
  readonly policy: SitePolicy;
  /** Undefined: none. */
  readonly cache: SiteCache | undefined;
  /** Ceiling of each of stdout and stderr as stored; an app's own cap cannot be higher. */
  readonly maxOutputBytes: number;
  readonly hooks: {
    /** Ceiling of a hook's time limit. */
    readonly maxTimeoutMs: number;
    /** Output of a hook that is kept. */
    readonly maxOutputBytes: number;
  };
  readonly apps: Readonly<Record<string, App>>;
  /** Digest of each app's settings; changes when that app changes. */
  readonly appDigests: Readonly<Record<string, string>>;
}
