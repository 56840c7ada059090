/**
 * The site's word on what may be fetched and where results may go. Whoever writes a job, a redirect or a DNS record cannot
 * widen it. Three moments of checking: the URL, each redirect, each address after DNS.
 */
import { isIP } from "node:net";
import { Fault } from "../common/fault.ts";
import { nearest, quoted } from "../common/nearest.ts";
import { type AddressKind, addressKind, inNetwork, type Network, parseNetwork } from "./addresses.ts";
import { type PlainUrl, readUrl, shownUrl } from "./urls.ts";

/** Which list is asked: `sources` for stage-in, `destinations` for stage-out. */
export type RuleSet = "sources" | "destinations";

/** As in the site file. */
export interface PolicyInput {
  /**
   * `scheme://host[:port]/path/prefix/`; the host may begin with `*.` (any subdomain, not the name itself) or be `*` (any public
   * host); `file:///directory/`. Prefixes are compared component by component.
   */
  readonly sources: readonly string[];
  readonly destinations: readonly string[];
  /**
   * Private networks that allowed hosts may lie in: an address, a CIDR, or a host name (opens loopback and private ranges for
   * that name, never link-local ones). A rule that is written with an address or `localhost` needs no entry here.
   */
  readonly allow_private?: readonly string[] | undefined;
}

export interface PolicyOptions {
  /** Schemes of adapters that reach no place but our own hub; not subject to the lists. Default none. */
  readonly trustedSchemes?: readonly string[];
}

export interface Verdict {
  readonly allowed: boolean;
  /** Canonical when allowed, else as given; without query. */
  readonly url: string;
  /** The rule that allows it. */
  readonly rule?: string;
  /** Why, in one sentence. */
  readonly reason: string;
  /** What would allow it, if anything should. */
  readonly remedy?: string;
}

export interface TransferPolicy {
  /** The canonical URL to open, if the rules allow it; throws POLICY otherwise. */
  check(url: string, set: RuleSet): string;
  /** The same as a value, for `siteagent plan`. */
  explain(url: string, set: RuleSet): Verdict;
  /** Throws POLICY when an allowed `host` turns out to have an `address` that no stranger may lead us to. */
  checkAddress(host: string, address: string, set: RuleSet): void;
  /** Directories (or files) that `file:` rules name. */
  fileRoots(set: RuleSet): readonly string[];
  /** Directories (or files) that the rules for the scheme, host and port of `url` name. */
  rootsFor(url: string, set: RuleSet): readonly string[];
}

interface Rule {
  readonly text: string;
  readonly scheme: string;
  /** Without the wildcard. */
  readonly host: string;
  readonly hosts: "this" | "below" | "any";
  readonly port: number;
  readonly segments: readonly string[];
}

/** A rule, or what is wrong with it; for the site file's own error messages. */
export function parseRule(
  text: string,
): { readonly ok: true; readonly rule: Rule } | { readonly ok: false; readonly problem: string } {
  const match = /^([A-Za-z][A-Za-z0-9+.-]*:\/\/)\*(\.?)(.*)$/s.exec(text);
  const reading = readUrl(match ? `${match[1]}${match[2] === "." ? "" : "any"}${match[3]}` : text);
  if (!reading.ok) return reading;
  const { url } = reading;
  if (text.includes("?")) return { ok: false, problem: "a rule has no query" };
  if (url.segments.some((segment) => segment.includes("*"))) {
    return { ok: false, problem: "a rule has no '*' in its path; it allows everything below its path" };
  }
  const hosts = match ? (match[2] === "." ? "below" : "any") : "this";
  if (hosts === "any" && url.host !== "any")
    return { ok: false, problem: "'*' stands for a whole host or begins it as '*.'" };
  if (hosts === "below" && (isIP(url.host) !== 0 || !url.host.includes("."))) {
    return { ok: false, problem: "'*.' is followed by a domain of at least two parts" };
  }
  const segments = url.segments.at(-1) === "" ? url.segments.slice(0, -1) : url.segments;
  return {
    ok: true,
    rule: { text, scheme: url.scheme, host: hosts === "any" ? "" : url.host, hosts, port: url.port, segments },
  };
}

/** Throws CONFIG naming every rule that cannot be used. */
export function compilePolicy(input: PolicyInput, options: PolicyOptions = {}): TransferPolicy {
  const problems: string[] = [];
  const compile = (set: RuleSet): readonly Rule[] =>
    input[set].flatMap((text, index) => {
      const parsed = parseRule(text);
      if (parsed.ok) return [parsed.rule];
      problems.push(`policy.${set}[${index}] ${quoted(shownUrl(text), 200)}: ${parsed.problem}`);
      return [];
    });
  const rules = { sources: compile("sources"), destinations: compile("destinations") };
  const privates = compilePrivates(input.allow_private ?? [], problems);
  if (problems.length > 0) {
    throw new Fault("CONFIG", `policy cannot be used: ${problems.join("; ")}`, {
      hint: "a rule reads scheme://host[:port]/path/, for example https://data.example.org/reads/ or file:///data/",
      details: { problems },
    });
  }
  return new Policy(rules, privates, new Set(options.trustedSchemes));
}

interface Privates {
  readonly networks: readonly Network[];
  readonly hosts: ReadonlySet<string>;
}

function compilePrivates(entries: readonly string[], problems: string[]): Privates {
  const networks: Network[] = [];
  const hosts = new Set<string>();
  for (const [index, entry] of entries.entries()) {
    const network = parseNetwork(entry);
    if (network) networks.push(network);
    else if (/^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/i.test(entry) && !/^[\d.]+$/.test(entry)) hosts.add(entry.toLowerCase());
    else
      problems.push(`policy.allow_private[${index}] ${quoted(entry)}: an address, a CIDR or a host name is expected`);
  }
  return { networks, hosts };
}

class Policy implements TransferPolicy {
  readonly #rules: Readonly<Record<RuleSet, readonly Rule[]>>;
  readonly #privates: Privates;
  readonly #trusted: ReadonlySet<string>;

  constructor(rules: Readonly<Record<RuleSet, readonly Rule[]>>, privates: Privates, trusted: ReadonlySet<string>) {
    this.#rules = rules;
    this.#privates = privates;
    this.#trusted = trusted;
  }

  check(url: string, set: RuleSet): string {
    const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(url)?.[1]?.toLowerCase();
    if (scheme !== undefined && this.#trusted.has(scheme)) return url;
    const reading = readUrl(url);
    const verdict = this.#judge(url, reading.ok ? reading.url : reading.problem, set);
    if (verdict.allowed && reading.ok) return reading.url.href;
    throw refusal(set, verdict);
  }

  explain(url: string, set: RuleSet): Verdict {
    const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(url)?.[1]?.toLowerCase();
    if (scheme !== undefined && this.#trusted.has(scheme)) {
      return { allowed: true, url: shownUrl(url), reason: `'${scheme}:' is the hub's own and needs no rule` };
    }
    const reading = readUrl(url);
    return this.#judge(url, reading.ok ? reading.url : reading.problem, set);
  }

  checkAddress(host: string, address: string, set: RuleSet): void {
    const kind = addressKind(address);
    if (kind === "public" || this.#mayReach(host, address, kind, set)) return;
    const place = `${quoted(host)} has the ${kind} address '${address}'`;
    throw new Fault("POLICY", `policy.${set} refuses a host: ${place}, which is not named`, {
      hint: `add '${address}' to policy.allow_private of the site file if ${quoted(host)} may lie there`,
      details: { set, host, address, kind },
    });
  }

  fileRoots(set: RuleSet): readonly string[] {
    return this.#rules[set].filter((rule) => rule.scheme === "file").map((rule) => `/${rule.segments.join("/")}`);
  }

  rootsFor(text: string, set: RuleSet): readonly string[] {
    const reading = readUrl(text);
    if (!reading.ok) return [];
    const { url } = reading;
    const rules = this.#rules[set].filter(
      (rule) => rule.scheme === url.scheme && hostMatches(rule, url) && rule.port === url.port,
    );
    return rules.map((rule) => `/${rule.segments.join("/")}`);
  }

  #mayReach(host: string, address: string, kind: AddressKind, set: RuleSet): boolean {
    const { networks, hosts } = this.#privates;
    if (networks.some((network) => inNetwork(address, network))) return true;
    if (hosts.has(host) && (kind === "private" || kind === "loopback")) return true;
    const named = this.#rules[set].some((rule) => rule.hosts === "this" && rule.host === host);
    return named && (host === address || (host === "localhost" && kind === "loopback"));
  }

  #judge(text: string, url: PlainUrl | string, set: RuleSet): Verdict {
    const shown = shownUrl(typeof url === "string" ? text : url.href);
    if (typeof url === "string") return { allowed: false, url: shown, reason: url };
    const rules = this.#rules[set];
    const rule = rules.find((candidate) => matches(candidate, url));
    if (!rule) return { allowed: false, url: shown, reason: missReason(rules, url), ...remedyOf(set, url, rules) };
    const kind = isIP(url.host) === 0 ? "public" : addressKind(url.host);
    if (kind !== "public" && !(rule.hosts === "this" || this.#mayReach(url.host, url.host, kind, set))) {
      const reason = `its address is ${kind} and rule '${rule.text}' does not name it`;
      return { allowed: false, url: shown, reason, remedy: `add '${url.host}' to policy.allow_private` };
    }
    return { allowed: true, url: shown, rule: rule.text, reason: `rule '${rule.text}' of policy.${set} allows it` };
  }
}

function refusal(set: RuleSet, verdict: Verdict): Fault {
  return new Fault("POLICY", `policy.${set} refuses ${quoted(verdict.url, 300)}: ${verdict.reason}`, {
    ...(verdict.remedy === undefined ? {} : { hint: verdict.remedy }),
    details: { set, url: verdict.url },
  });
}

function matches(rule: Rule, url: PlainUrl): boolean {
  return rule.scheme === url.scheme && hostMatches(rule, url) && rule.port === url.port && pathMatches(rule, url);
}

function hostMatches(rule: Rule, url: PlainUrl): boolean {
  if (rule.hosts === "any") return true;
  return rule.hosts === "this" ? url.host === rule.host : url.host.endsWith(`.${rule.host}`);
}

function pathMatches(rule: Rule, url: PlainUrl): boolean {
  return rule.segments.every((segment, index) => url.segments[index] === segment);
}

/** The first part in which no rule agrees, in the order scheme, host, port, path. */
function missReason(rules: readonly Rule[], url: PlainUrl): string {
  if (rules.length === 0) return "the list is empty";
  const scheme = rules.filter((rule) => rule.scheme === url.scheme);
  if (scheme.length === 0) return `no rule allows scheme '${url.scheme}'`;
  const host = scheme.filter((rule) => hostMatches(rule, url));
  if (host.length === 0) return `no rule allows host '${url.host}'`;
  const port = host.filter((rule) => rule.port === url.port);
  if (port.length === 0) return `no rule allows port ${url.port} of '${url.host}'`;
  return `its path is not below ${port.map((rule) => `'${rule.text}'`).join(", ")}`;
}

function remedyOf(set: RuleSet, url: PlainUrl, rules: readonly Rule[]): { readonly remedy: string } {
  const directory = url.href.replace(/\?.*$/s, "").replace(/[^/]*$/, "");
  const near = nearest(url.host, new Set(rules.map((rule) => rule.host)));
  const meant = near === undefined || near === url.host || near === "" ? "" : `; or did the job mean host '${near}'?`;
  return { remedy: `add '${directory}' to policy.${set} of the site file if this is wanted${meant}` };
}
