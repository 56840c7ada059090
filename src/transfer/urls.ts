/** URLs as transfers use them: one strict reading, so that what the policy checks is what an adapter opens. */
import { isIP } from "node:net";

/** A URL after the one strict reading. `href` is canonical; nothing but it may be opened. */
export interface PlainUrl {
  readonly href: string;
  /** Without colon, lower case. */
  readonly scheme: string;
  /** Lower case, punycode, IPv4 in dotted decimal, IPv6 without brackets; empty for `file` and schemes without authority. */
  readonly host: string;
  /** Effective port; 0 where the scheme has none. */
  readonly port: number;
  /** Path components, percent-decoded once; a trailing `/` gives an empty last one. */
  readonly segments: readonly string[];
}

export type UrlReading =
  | { readonly ok: true; readonly url: PlainUrl }
  | { readonly ok: false; readonly problem: string };

const defaultPorts: Readonly<Record<string, number>> = { http: 80, https: 443, sftp: 22, scp: 22, rsync: 22, ftp: 21 };
const longestUrl = 8_192;
/** Their adapters hand over decoded names, so `%252e` is `%2e` in a name to everybody ("2.4. When to Encode or Decode" of RFC 3986). */
const decodedHere: ReadonlySet<string> = new Set(["file", "s3", "sftp", "scp", "rsync", "globus"]);

/**
 * Reads a URL, refusing every spelling that two programs could read differently: credentials, backslashes, blanks and control
 * characters, missing `//`, dot components (also encoded), encoded separators, IPv6 zones, trailing dots; and for servers that decode
 * paths themselves what would be one of them if they did so twice.
 */
export function readUrl(text: string): UrlReading {
  const spelled = spellingProblem(text);
  if (spelled !== undefined) return { ok: false, problem: spelled };
  const match = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)([^#]*)(.*)$/s.exec(text);
  if (!match) return { ok: false, problem: "it is no URL of the form scheme://host/path" };
  const [, rawScheme = "", authority = "", path = "", query = "", fragment = ""] = match;
  const scheme = rawScheme.toLowerCase();
  if (fragment !== "") return { ok: false, problem: "it has a fragment ('#…')" };
  if (["file", "s3", "sftp", "scp", "rsync"].includes(scheme) && query !== "")
    return { ok: false, problem: `a URL of scheme '${scheme}' has no query; '?' in a name is '%3F'` };
  const authorityFault = authorityProblem(scheme, authority);
  if (authorityFault !== undefined) return { ok: false, problem: authorityFault };
  const segments = readSegments(path, scheme);
  if (typeof segments === "string") return { ok: false, problem: segments };
  return canonical(text, scheme, authority);
}

function spellingProblem(text: string): string | undefined {
  if (text.length > longestUrl) return `it is longer than ${longestUrl} characters`;
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u0020\u007f-\u00a0\u2028\u2029\ufeff]/.test(text)) return "it has a blank or control character";
  if (!text.isWellFormed()) return "it is not valid Unicode";
  if (text.includes("\\")) return "it has a backslash";
  return undefined;
}

function authorityProblem(scheme: string, authority: string): string | undefined {
  if (authority.includes("@")) return "it carries credentials; they belong into the site file";
  if (authority.includes("%")) return "its host is percent-encoded or has an IPv6 zone";
  if (scheme === "file") return authority === "" ? undefined : "a file URL has no host: file:///path";
  if (authority === "") return "it has no host";
  if (/\.(:\d*)?$/.test(authority)) return "its host ends with a dot";
  return undefined;
}

/** Components decoded once, or what is wrong with them. */
function readSegments(path: string, scheme: string): readonly string[] | string {
  const decoded: string[] = [];
  const raw = path === "" ? [""] : path.slice(1).split("/");
  for (const [index, part] of raw.entries()) {
    let plain: string;
    try {
      plain = decodeURIComponent(part);
    } catch {
      return "its path is not valid percent-encoded UTF-8";
    }
    if (plain === "." || plain === "..") return "its path has a '.' or '..' component";
    if (plain === "" && index < raw.length - 1) return "its path has an empty component";
    if (!decodedHere.has(scheme) && misleadsWhenDecodedAgain(plain)) return "its path is percent-encoded twice";
    // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
    if (/[/\\\u0000-\u001f\u007f]/.test(plain)) return "its path has an encoded separator or control character";
    decoded.push(plain);
  }
  return decoded;
}

/** Some web servers decode a path twice: then a name must not become a way to elsewhere. */
function misleadsWhenDecodedAgain(segment: string): boolean {
  for (let plain = segment; ;) {
    const next = plain.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
    if (next === plain) return false;
    plain = next;
    if (plain.split(/[/\\]/).some((part) => part === "." || part === "..")) return true;
    // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
    if (/[\u0000-\u001f\u007f]/.test(plain)) return true;
  }
}

function canonical(text: string, scheme: string, authority: string): UrlReading {
  let url: URL;
  let host = "";
  try {
    url = new URL(text);
    // Only web schemes have their host normalised; read every host by their rules.
    if (scheme !== "file") host = new URL(`https://${authority}/`).hostname.replace(/^\[|\]$/g, "");
  } catch {
    return { ok: false, problem: "its host or port is not valid" };
  }
  if (scheme !== "file" && (host === "" || (isIP(host) === 0 && !/^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(host)))) {
    return { ok: false, problem: "its host is not a host name or address" };
  }
  // The path stays encoded as it came: `%2B` and `+` are two names to some object stores.
  const path = url.pathname === "" ? "/" : url.pathname;
  const segments = readSegments(path, scheme);
  if (typeof segments === "string") return { ok: false, problem: segments };
  const port = url.port === "" ? (defaultPorts[scheme] ?? 0) : Number(url.port);
  const shownHost = host.includes(":") ? `[${host}]` : host;
  const shownPort = url.port === "" || port === defaultPorts[scheme] ? "" : `:${url.port}`;
  return {
    ok: true,
    url: { href: `${scheme}://${shownHost}${shownPort}${path}${url.search}`, scheme, host, port, segments },
  };
}

/** One path component, percent-encoded but for the characters that every server takes as they are. Globs stay readable. */
export function encodeSegment(segment: string): string {
  return encodeURIComponent(segment).replace(/%(2C|3A|40|3D|24|26|3B)/g, (code) => decodeURIComponent(code));
}

/** `url` without its query: what messages and logs show. A text that is no URL is cut before `?` and its credentials hidden. */
export function shownUrl(url: string): string {
  const plain = url.replace(/[?#].*$/s, "").replace(/\/\/[^/]*@/, "//…@");
  // oxlint-disable-next-line no-control-regex -- control characters must not reach a terminal
  const safe = plain.replace(/[\u0000-\u001f\u007f-\u009f]/g, "\ufffd");
  return safe.length > 300 ? `${safe.slice(0, 300)}…` : safe;
}

/** The URL of `path` (with `/`, not encoded) below the directory `base`; its query is kept. */
export function urlBelow(base: string, path: string): string {
  if (path === "") return base;
  const query = base.indexOf("?");
  const bare = query === -1 ? base : base.slice(0, query);
  const encoded = path
    .split("/")
    .map((segment) => encodeSegment(segment))
    .join("/");
  return `${bare.endsWith("/") ? bare : `${bare}/`}${encoded}${query === -1 ? "" : base.slice(query)}`;
}

/** True for a path component that is a pattern. */
export function isPattern(segment: string): boolean {
  return /[*?[{]/.test(segment);
}
