// Plain JavaScript for Node 18. Turns the end of `npm ci` into a sentence that says what to do.

const causes = {
  ENOTFOUND: "the npm registry's name is not known here: is this machine offline?",
  EAI_AGAIN: "the npm registry's name cannot be looked up: is this machine offline?",
  ENETUNREACH: "the network cannot be reached: is this machine offline?",
  EHOSTUNREACH: "the npm registry cannot be reached: is this machine offline?",
  ECONNREFUSED: "the npm registry refuses the connection; check `npm config get registry` and the proxy settings",
  ECONNRESET: "the npm registry broke the connection off; try again",
  ETIMEDOUT: "the npm registry does not answer; check the network and the proxy settings",
  ERR_SOCKET_TIMEOUT: "the npm registry does not answer; check the network and the proxy settings",
  SELF_SIGNED_CERT_IN_CHAIN:
    "a certificate is not trusted; name your proxy's in NODE_EXTRA_CA_CERTS or `npm config set cafile`",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    "a certificate is not trusted; name your proxy's in NODE_EXTRA_CA_CERTS or `npm config set cafile`",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    "a certificate is not trusted; name your proxy's in NODE_EXTRA_CA_CERTS or `npm config set cafile`",
  E401: "the npm registry wants a login; check ~/.npmrc",
  E403: "the npm registry forbids the download; check ~/.npmrc",
  E404: "the npm registry does not have a package of this version; check `npm config get registry`",
  ENOSPC: "no space is left on the disk",
  EDQUOT: "the disk quota is used up",
  EACCES: "this account may not write where npm has to; files of another account in node_modules or ~/.npm?",
  EPERM: "this account may not write where npm has to; files of another account in node_modules or ~/.npm?",
  EROFS: "the file system is read-only",
  EINTEGRITY: "a downloaded package is not what package-lock.json promises; try `npm cache clean --force`",
  EUSAGE: "package.json and package-lock.json do not fit together",
};

/** `done`: { code, signal, error, told } of the run of npm. */
export function explainNpm(done, root) {
  if (done.error?.code === "ENOENT")
    return "npm is not in PATH; install it (Debian: apt-get install npm) and try again";
  if (done.error) return `npm cannot be started: ${done.error.message}`;
  if (done.signal) return `npm ci was ended by ${done.signal}; the next start begins anew`;
  const code = /^npm (?:error|ERR!) code (\w+)/m.exec(done.told)?.[1];
  const cause = code === undefined ? undefined : causes[code];
  const end = `npm ci ended with ${done.code}${code === undefined ? "" : ` (${code})`}`;
  if (cause) return `${end}: ${cause}`;
  return `${end}; its own words are above, to see more run: cd '${root}' && npm ci --ignore-scripts`;
}
