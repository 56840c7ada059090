/** Which key a server may show: the files that OpenSSH calls known_hosts (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"). Pure but for `readKnownHosts`. */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";
import { errnoOf, Fault } from "../../common/fault.ts";
import { matchesPattern } from "./pattern.ts";

export interface KnownKey {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly marker: "none" | "revoked" | "cert-authority";
  /** The host field as written: patterns, or one hashed name. */
  readonly hosts: string;
  /** As `ssh-ed25519`. */
  readonly type: string;
  /** In the wire format. */
  readonly key: Buffer;
}

export type HostKeyVerdict =
  | { readonly state: "known" }
  | { readonly state: "revoked"; readonly by: KnownKey }
  /** Another key of the same type is known for the name. */
  | { readonly state: "changed"; readonly known: KnownKey }
  /** `others`: keys of other types that are known; `authority`: the name has a line for a certificate authority; `flaw`: why the certificate that was shown does not count. */
  | {
      readonly state: "unknown";
      readonly others: readonly KnownKey[];
      readonly authority: KnownKey | undefined;
      readonly flaw?: string;
    };

/** Lines that can be read; others are passed over as OpenSSH does. */
export function parseKnownHosts(text: string, file: string): readonly KnownKey[] {
  return text.split(/\r?\n/).flatMap((content, index) => {
    const words = content.trim().split(/[ \t]+/);
    if (words[0] === "" || words[0]?.startsWith("#")) return [];
    const marker = markerOf(words[0]);
    if (marker === undefined) return [];
    if (marker !== "none") words.shift();
    const [hosts, type, encoded] = words;
    if (hosts === undefined || type === undefined || encoded === undefined) return [];
    const key = Buffer.from(encoded, "base64");
    return keyType(key) === type ? [{ file, line: index + 1, marker, hosts, type, key }] : [];
  });
}

/** Files that are not there are empty. @throws Fault CONFIG when one cannot be read. */
export async function readKnownHosts(files: readonly string[]): Promise<readonly KnownKey[]> {
  const keys: KnownKey[] = [];
  for (const file of files) {
    try {
      keys.push(...parseKnownHosts(await readFile(file, "utf8"), file));
    } catch (error) {
      if (errnoOf(error) === "ENOENT") continue;
      throw new Fault("CONFIG", `the known hosts in '${file}' cannot be read: ${errnoOf(error) ?? String(error)}`, {
        hint: "without them no server can be trusted; give this account the right to read the file",
        cause: error,
      });
    }
  }
  return keys;
}

/** `[name]:port` unless the port is 22. */
export function knownName(name: string, port: number): string {
  const lower = name.toLowerCase();
  return port === 22 ? lower : `[${lower}]:${port}`;
}

/** May the server called `name` (`knownName`) show `key`? A revoked key never; a key of another name's line never. */
export function judgeHostKey(known: readonly KnownKey[], name: string, key: Buffer): HostKeyVerdict {
  const own = linesOf(known, name);
  const revoked = own.find((entry) => entry.marker === "revoked" && entry.key.equals(key));
  if (revoked) return { state: "revoked", by: revoked };
  const plain = own.filter((entry) => entry.marker === "none");
  if (plain.some((entry) => entry.key.equals(key))) return { state: "known" };
  const type = keyType(key);
  const sameType = plain.find((entry) => entry.type === type);
  if (sameType) return { state: "changed", known: sameType };
  return { state: "unknown", others: plain, authority: own.find((entry) => entry.marker === "cert-authority") };
}

/** Those that are for the server called `name` (`knownName`). */
export function linesOf(known: readonly KnownKey[], name: string): readonly KnownKey[] {
  return known.filter((entry) => namesHost(entry.hosts, name));
}

/** Types of keys that are known for `name`: offered first, so that the server shows one that can be checked. */
export function knownTypes(known: readonly KnownKey[], name: string): readonly string[] {
  const own = linesOf(known, name).filter(({ marker }) => marker === "none");
  return [...new Set(own.map((entry) => entry.type))];
}

/** As `ssh-keygen -l` prints it. */
export function fingerprint(key: Buffer): string {
  return `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;
}

/** The type that a key in the wire format says it is; undefined for what is no key. */
export function keyType(key: Buffer): string | undefined {
  if (key.length < 4) return undefined;
  const length = key.readUInt32BE(0);
  return length > 64 || key.length < 4 + length ? undefined : key.toString("latin1", 4, 4 + length);
}

function markerOf(word: string | undefined): KnownKey["marker"] | undefined {
  if (word === "@revoked") return "revoked";
  if (word === "@cert-authority") return "cert-authority";
  return word?.startsWith("@") ? undefined : "none";
}

/** Comma-separated patterns with `*` and `?`, one that begins with `!` excludes; or `|1|salt|hash` of one name. */
function namesHost(hosts: string, name: string): boolean {
  if (hosts.startsWith("|")) return isHashOf(hosts, name);
  let found = false;
  for (const pattern of hosts.toLowerCase().split(",")) {
    const negated = pattern.startsWith("!");
    if (!matchesPattern(negated ? pattern.slice(1) : pattern, name)) continue;
    if (negated) return false;
    found = true;
  }
  return found;
}

/** HMAC-SHA1 of the name with the salt as key (OpenSSH, hostfile.c). */
function isHashOf(field: string, name: string): boolean {
  const [, version, salt, hash] = field.split("|");
  if (version !== "1" || salt === undefined || hash === undefined) return false;
  const expected = Buffer.from(hash, "base64");
  const actual = createHmac("sha1", Buffer.from(salt, "base64")).update(name).digest();
  return expected.length === actual.length && timingSafeEqual(expected, actual);
}
