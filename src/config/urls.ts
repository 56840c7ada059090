/** What is wrong with a URL that stands for itself and all below it, if anything. */
export function checkUrlPrefix(
  text: string,
  schemes: readonly string[],
):
  | { readonly message: string; readonly value?: string; readonly allowed?: string; readonly known?: readonly string[] }
  | undefined {
  const example = "as https://data.example.org/ or file:///data/";
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(text)?.[1]?.toLowerCase();
  const url = URL.parse(text);
  if (!url || scheme === undefined) {
    return { message: `'${text}' is not a URL`, value: text, allowed: `scheme, host and path prefix, ${example}` };
  }
  if (url.username !== "" || url.password !== "")
    return { message: "a URL with user or password", allowed: "a URL without them" };
  if (!schemes.includes(scheme)) {
    return { message: `'${scheme}' is not a scheme that this version moves files by`, value: scheme, known: schemes };
  }
  if (url.search !== "" || url.hash !== "") {
    return {
      message: `'${text}' has a query or fragment`,
      value: text,
      allowed: `scheme, host and path prefix, ${example}`,
    };
  }
  if (/[{}*?\s]|%2e|(^|\/)\.\.?(\/|$)/i.test(text)) {
    return {
      message: `'${text}' holds signs that a prefix cannot have`,
      value: text,
      allowed: `a plain path without .., blanks, * and {}`,
    };
  }
  return undefined;
}

/**
 * `archive:/x/y` with the remote `archive` → its URL with `/x/y` below; any other text comes back as it is. The path cannot leave
 * the remote: undefined when it would.
 */
export function expandRemote(
  text: string,
  remotes: Readonly<Record<string, { readonly url: string }>>,
): string | undefined {
  const match = /^([a-z][a-z0-9_-]+):(.*)$/s.exec(text);
  const name = match?.[1] ?? "";
  const remote = Object.hasOwn(remotes, name) ? remotes[name] : undefined;
  if (!remote) return text;
  const rest = match?.[2] ?? "";
  if (rest.startsWith("//")) return undefined;
  const base = remote.url.endsWith("/") ? remote.url : `${remote.url}/`;
  const full = URL.parse(base + rest.replace(/^\//, ""));
  const prefix = URL.parse(base);
  if (!full || !prefix || !full.href.startsWith(prefix.href)) return undefined;
  return full.href;
}
