import { writeFile } from "node:fs/promises";
import { AwsV4Signer } from "aws4fetch";
import type { SecretPlace } from "../../../src/common/secret-file.ts";
import { createS3Transfer } from "../../../src/transfer/s3/index.ts";
import { compilePolicy, type PolicyInput } from "../../../src/transfer/policy.ts";
import type { FindStore, KeySource, S3Settings } from "../../../src/transfer/s3/types.ts";
import type { TransferAdapter } from "../../../src/transfer/types.ts";
import { encodeSegment } from "../../../src/transfer/urls.ts";
import type { TransferHarness } from "../../../src/conformance/transfer/index.ts";
import { temporaryDirectory, type TemporaryDirectory } from "../../helpers/temporary.ts";

export interface Account {
  readonly endpoint: string;
  readonly accessKey: string;
  readonly secretKey: string;
}

const mebibyte = 1024 * 1024;
/** The least that stores allow. */
export const partBytes = 5 * mebibyte;

/** Settings of a store whose keys nobody needs, or lie where `keys` says. */
export function settingsOf(endpoint: string, fields: Partial<S3Settings> = {}): S3Settings {
  return {
    endpoint,
    region: "us-east-1",
    pathStyle: true,
    keys: { kind: "anonymous" },
    partBytes,
    parts: 3,
    verify: "digest",
    existing: "replace",
    ...fields,
  };
}

/** `s3://far/…` is the bucket. */
export function storeAt(bucket: string, settings: S3Settings): FindStore {
  return (host) => (host === "far" || host === bucket ? { label: "far", bucket, settings } : undefined);
}

/** Allows `s3://far/data/`. */
export const policy: PolicyInput = { sources: ["s3://far/data/"], destinations: ["s3://far/data/"] };

/** One signed request past the adapter. */
export async function raw(
  { endpoint, accessKey, secretKey }: Account,
  method: string,
  path: string,
  body?: Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const options = { accessKeyId: accessKey, secretAccessKey: secretKey, service: "s3", region: "us-east-1" };
  const signed = await new AwsV4Signer({
    method,
    url: `${endpoint}/${path}`,
    headers: { ...headers },
    ...options,
  }).sign();
  return await fetch(signed.url, {
    method,
    headers: signed.headers,
    ...(body === undefined ? {} : { body: Buffer.from(body) }),
  });
}

/** A URL that is good without keys for an hour. */
export async function presigned(
  { endpoint, accessKey, secretKey }: Account,
  method: string,
  path: string,
): Promise<string> {
  const options = { accessKeyId: accessKey, secretAccessKey: secretKey, service: "s3", region: "us-east-1" };
  const url = `${endpoint}/${path}?X-Amz-Expires=3600`;
  return (await new AwsV4Signer({ method, url, signQuery: true, ...options }).sign()).url.href;
}

export interface S3Harness extends TransferHarness {
  readonly bucket: string;
  /** Of keys, as in `raw`: begins with the bucket, ends with `/`. */
  readonly prefix: string;
  readonly find: FindStore;
  readonly settings: S3Settings;
  /** A further adapter, as of an agent that was started anew. */
  again(fields?: Partial<S3Settings>): TransferAdapter;
}

let places = 0;

/** A place of its own in a bucket of a real store. `endpoint`: a way to it that may break. */
export async function s3Harness(
  account: Account & { readonly bucket: string },
  fields: Partial<S3Settings> = {},
): Promise<S3Harness> {
  const directory = await temporaryDirectory();
  const { bucket } = account;
  const below = `data/${++places}/`;
  const settings = settingsOf(account.endpoint, { keys: await keyFiles(directory, account), ...fields });
  const again = (other: Partial<S3Settings> = {}): TransferAdapter =>
    createS3Transfer({ policy: compilePolicy(policy), stores: storeAt(bucket, { ...settings, ...other }) });
  const adapter = again();
  const keyOf = (path: string): string => `${bucket}/${below}${path.split("/").map(encodeURIComponent).join("/")}`;
  return {
    adapter,
    bucket,
    prefix: `${bucket}/${below}`,
    find: storeAt(bucket, settings),
    settings,
    again,
    url: (path) => `s3://far/${below}${path.split("/").map(encodeSegment).join("/")}`,
    forbidden: "s3://far/elsewhere/x",
    put: async (path, content) => {
      const answer = await raw(account, "PUT", keyOf(path), content);
      if (!answer.ok) throw new Error(`no object: ${answer.status} ${await answer.text()}`);
    },
    get: async (path) => {
      const answer = await raw(account, "GET", keyOf(path));
      const bytes = Buffer.from(await answer.arrayBuffer());
      return answer.ok ? bytes : undefined;
    },
    async [Symbol.asyncDispose]() {
      await adapter[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** Keys as files that pass for secrets. */
export async function keyFiles(
  directory: TemporaryDirectory,
  { accessKey, secretKey }: Pick<Account, "accessKey" | "secretKey">,
): Promise<Extract<KeySource, { readonly kind: "keys" }>> {
  const place = async (name: string, secret: string): Promise<SecretPlace> => {
    await writeFile(directory.join(name), `${secret}\n`, { mode: 0o600 });
    return { path: directory.join(name), label: name };
  };
  return {
    kind: "keys",
    accessKey: await place("access-key", accessKey),
    secretKey: await place("secret-key", secretKey),
    sessionToken: undefined,
  };
}
