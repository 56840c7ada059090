import { isFault } from "../common/fault.ts";
import { quoted } from "../common/nearest.ts";
import { compilePolicy, parseRule } from "../transfer/policy.ts";

export interface UrlProblem {
  readonly message: string;
  readonly value?: string;
  readonly allowed?: string;
  readonly known?: readonly string[];
}

const example = "scheme://host[:port]/path/, as https://data.example.org/ or file:///data/";

/** What is wrong with a URL that stands for all below it, if anything; `plain`: wildcards in the host are no use there. */
export function checkUrlRule(
  text: string,
  schemes: readonly string[],
  kind: "rule" | "plain" = "rule",
  remotes: readonly string[] = [],
): UrlProblem | undefined {
  if (/\/\/[^/]*@/.test(text)) return { message: "a URL with user or password", allowed: "a URL without them" };
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) return { message: `${quoted(text)} is not a URL`, value: text, allowed: example };
  if (!schemes.includes(scheme)) {
    const isRemote = /^[a-z][a-z0-9_-]+:\/(?!\/)/.test(text);
    const message = isRemote
      ? `'${scheme}' is no remote of this file`
      : `'${scheme}' is not a scheme that this version moves files by`;
    return { message, value: scheme, known: isRemote ? remotes : schemes };
  }
  const parsed = parseRule(text);
  if (!parsed.ok)
    return { message: `${quoted(text)} cannot be used: ${parsed.problem}`, value: text, allowed: example };
  if (/[{}]/.test(text)) return { message: `${quoted(text)} holds { or }`, value: text, allowed: example };
  if (kind === "plain" && parsed.rule.hosts !== "this") {
    return { message: `${quoted(text)} names no single host`, value: text, allowed: example };
  }
  return undefined;
}

/** What is wrong with an entry of `policy.allow_private`, if anything. */
export function privateFlaw(entry: string): string | undefined {
  try {
    compilePolicy({ sources: [], destinations: [], allow_private: [entry] });
    return undefined;
  } catch (error) {
    if (!isFault(error, "CONFIG")) throw error;
    return `${quoted(entry)} is not an address, a network or a host name`;
  }
}

/**
 * A template that begins with the name of a remote (`archive:/x/{{sample}}`) with the remote's URL in its place; any other comes back
 * as it is. The rest cannot leave the remote: `..` is refused when the template is filled.
 */
export function expandRemote(template: string, remotes: Readonly<Record<string, { readonly url: string }>>): string {
  const match = /^([a-z][a-z0-9_-]+):\/(?!\/)(.*)$/s.exec(template);
  const name = match?.[1] ?? "";
  const remote = Object.hasOwn(remotes, name) ? remotes[name] : undefined;
  if (!remote) return template;
  return `${remote.url.replace(/\/$/, "")}/${match?.[2] ?? ""}`;
}

/** What is wrong with the address of a service that is told a secret, if anything: it is https, or of this machine. */
export function addressProblem(text: string): string | undefined {
  const url = URL.parse(text);
  if (!url || !["http:", "https:"].includes(url.protocol) || url.username || url.password || url.search || url.hash) {
    return url?.password ? "the address holds a password" : `'${text}' is not the address of a service`;
  }
  if (url.protocol === "https:" || isLoopback(url.hostname)) return undefined;
  return `'${text}' would send credentials in clear`;
}

/** True for a host of a URL that is this machine, written so. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(hostname);
}
