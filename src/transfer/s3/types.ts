import type { SecretPlace } from "../../common/secret-file.ts";

/** Where keys come from; read anew when they change, expire or are refused. */
export type KeySource =
  | { readonly kind: "anonymous" }
  /** A file in the format of `~/.aws/credentials`. */
  | { readonly kind: "file"; readonly file: SecretPlace; readonly profile: string }
  | {
      readonly kind: "keys";
      readonly accessKey: SecretPlace;
      readonly secretKey: SecretPlace;
      readonly sessionToken: SecretPlace | undefined;
    }
  /** The role of a cloud's machine, by its metadata service, version 2; or of a container, by the address in its environment. */
  | { readonly kind: "instance" | "container" };

/** How one object store is reached and used. */
export interface S3Settings {
  /** Scheme, host and port, without a slash at the end. */
  readonly endpoint: string;
  readonly region: string;
  /** `https://host/bucket/key`; false: `https://bucket.host/key`. */
  readonly pathStyle: boolean;
  readonly keys: KeySource;
  /** Larger files go up in parts. */
  readonly partBytes: number;
  /** Parts of one file under way at the same time. */
  readonly parts: number;
  /** `digest`: by what the store computed itself, else by reading small objects back; `size`: sizes alone. */
  readonly verify: "digest" | "size";
  /** What happens to an object of another content that lies at a destination. */
  readonly existing: "replace" | "refuse";
}

/** A bucket and the way to it. */
export interface S3Store {
  /** What messages call the remote. */
  readonly label: string;
  readonly bucket: string;
  readonly settings: S3Settings;
}

/** The store behind the host part of an `s3:` URL: a remote's name or a bucket's. Undefined: the site file names none. */
export type FindStore = (host: string) => S3Store | undefined;
