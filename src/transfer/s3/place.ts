/** From a URL to an object of a store. */
import { Fault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { pathProblem, unsafe } from "../paths.ts";
import type { RuleSet, TransferPolicy } from "../policy.ts";
import { splitPattern } from "../tree.ts";
import type { RemoteFile } from "../types.ts";
import { isPattern, readUrl, shownUrl } from "../urls.ts";
import type { FindStore, S3Store } from "./types.ts";

/** A URL that the policy allows, and where it leads. */
export interface Place {
  readonly store: S3Store;
  /** Components of the key, decoded; none for the bucket itself. */
  readonly segments: readonly string[];
  readonly key: string;
  /** Of this object among all of all stores. */
  readonly name: string;
  /** For messages, in quotes. */
  readonly what: string;
}

/** S3 allows 1024 bytes ("Naming Amazon S3 objects"). */
const longestKeyBytes = 1024;

/** @throws Fault POLICY; TRANSFER_REFUSED where no remote of the site file leads there. */
export function placeOf(url: string, set: RuleSet, policy: TransferPolicy, find: FindStore): Place {
  const what = quoted(shownUrl(url), 300);
  const reading = readUrl(policy.check(url, set));
  if (!reading.ok) throw new Fault("POLICY", `${what} is refused: ${reading.problem}`);
  const { host, port, segments: all } = reading.url;
  if (port !== 0) throw new Fault("TRANSFER_REFUSED", `${what} has a port; it is told by 'endpoint' of the remote`);
  const store = find(host);
  if (!store) {
    throw new Fault(
      "TRANSFER_REFUSED",
      `${what}: no remote of the site file is called '${host}' or has such a bucket`,
      {
        hint: `add '${host}' to 'buckets' of a remote with s3`,
      },
    );
  }
  return at({ store, what }, all.at(-1) === "" ? all.slice(0, -1) : all);
}

function at({ store, what }: Pick<Place, "store" | "what">, segments: readonly string[]): Place {
  const key = segments.join("/");
  if (Buffer.byteLength(key) > longestKeyBytes) {
    throw new Fault("TRANSFER_REFUSED", `${what} is longer than the ${longestKeyBytes} bytes that a store allows`);
  }
  return { store, what, segments, key, name: [store.settings.endpoint, store.bucket, key].join("\0") };
}

/** Where one listed file of a source lies. @throws Fault UNSAFE_PATH. */
export function fileOf(place: Place, file: RemoteFile): Place {
  if (file.path === "") return place;
  const problem = pathProblem(file.path);
  if (problem !== undefined) throw unsafe(`source ${place.what}:`, file.path, problem);
  const base = place.segments.some(isPattern) ? splitPattern(place.segments).base : place.segments;
  const what = `${place.what.slice(0, -1)} ${file.path}'`;
  return at({ store: place.store, what }, [...base, ...file.path.split("/")]);
}
