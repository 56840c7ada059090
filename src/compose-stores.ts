/** Finds the object stores of a site file; part of src/compose.ts, the only place that builds concrete adapters. */
import type { Probe } from "./common/adapter.ts";
import type { CallContext } from "./common/context.ts";
import { secretPlace } from "./config/secrets.ts";
import type { Site, SiteKeys, SiteS3 } from "./config/types.ts";
import { probeS3 } from "./transfer/s3/probe.ts";
import type { FindStore, KeySource, S3Settings, S3Store } from "./transfer/s3/types.ts";

interface Remote {
  readonly name: string;
  readonly buckets: SiteS3["buckets"];
  readonly settings: S3Settings;
}

/** By the name of a remote, whose first bucket is meant; else by the name of a bucket that one remote alone has. */
export function storesOf(site: Pick<Site, "remotes">): FindStore {
  const remotes = remotesOf(site);
  return (host) => {
    const named = remotes.find(({ name }) => name === host);
    if (named) return storeOf(named, named.buckets[0]);
    const [owner, ...others] = remotes.filter(({ buckets }) => buckets.includes(host));
    return owner && others.length === 0 ? storeOf(owner, host) : undefined;
  };
}

/** Whether the remotes that are object stores can be used now. For `siteagent doctor`. */
export async function probeStores(
  site: Site,
  context: CallContext,
): Promise<readonly { readonly remote: string; readonly probe: Probe }[]> {
  return await Promise.all(
    remotesOf(site).map(async (remote) => {
      const stores = remote.buckets.map((bucket) => storeOf(remote, bucket));
      return { remote: remote.name, probe: await probeS3(stores, process.env, context) };
    }),
  );
}

function remotesOf({ remotes }: Pick<Site, "remotes">): readonly Remote[] {
  return Object.entries(remotes).flatMap(([name, { s3 }]) => {
    if (!s3) return [];
    const { buckets, keys, ...settings } = s3;
    return [{ name, buckets, settings: { ...settings, keys: keySource(keys) } }];
  });
}

function storeOf({ name, settings }: Remote, bucket: string): S3Store {
  return { label: name, bucket, settings };
}

function keySource(keys: SiteKeys): KeySource {
  if (keys.kind === "file") return { ...keys, file: secretPlace(keys.file) };
  if (keys.kind !== "keys") return keys;
  return {
    kind: "keys",
    accessKey: secretPlace(keys.accessKey),
    secretKey: secretPlace(keys.secretKey),
    sessionToken: keys.sessionToken && secretPlace(keys.sessionToken),
  };
}
