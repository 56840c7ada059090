/** Remotes that are object stores. */
import { checkSecret, type Compiling } from "./compiling.ts";
import type { S3Input } from "./s3-schema.ts";
import type { SiteKeys, SiteS3 } from "./types.ts";
import { isLoopback } from "./urls.ts";

const minPartBytes = 5 * 1024 ** 2;
const maxPartBytes = 5 * 1024 ** 3;

/** `path`: where the settings stand in the file. */
export async function compileS3(
  compiling: Compiling,
  path: readonly PropertyKey[],
  s3: S3Input,
): Promise<Omit<SiteS3, "verify" | "existing">> {
  const { loaded } = compiling;
  const { region, part_size: partBytes, parts, endpoint } = s3;
  if (partBytes < minPartBytes || partBytes > maxPartBytes) {
    const message = `'${partBytes}' bytes are no size of a part`;
    loaded.report.add({ path: [...path, "part_size"], message, allowed: "5MiB to 5GiB" });
  }
  const [first = "", ...others] = s3.buckets;
  return {
    endpoint: endpoint === undefined ? awsEndpoint(region) : checkEndpoint(compiling, path, endpoint, s3.allow_http),
    region,
    buckets: [first, ...others],
    pathStyle: s3.path_style ?? endpoint !== undefined,
    keys: await compileKeys(compiling, [...path, "credentials"], s3.credentials),
    partBytes,
    parts,
  };
}

/** The domain of AWS in China is another one. */
function awsEndpoint(region: string): string {
  return `https://s3.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`;
}

function checkEndpoint({ loaded }: Compiling, above: readonly PropertyKey[], text: string, allowHttp: boolean): string {
  const path = [...above, "endpoint"];
  const url = URL.parse(text);
  const web = url !== null && ["http:", "https:"].includes(url.protocol);
  if (!web || url.username || url.password || url.search || url.hash || url.pathname !== "/") {
    const secret = url?.password !== undefined && url.password !== "";
    const message = secret ? "the address holds a password" : `'${text}' is not the address of an object store`;
    const allowed = "an address as https://s3.example.org, without user, path, query and fragment";
    loaded.report.add({ path, message, value: secret ? undefined : text, allowed });
    return "https://invalid.invalid";
  }
  if (url.protocol === "http:" && !allowHttp && !isLoopback(url.hostname)) {
    const message = `'${text}' would send contents in clear`;
    loaded.report.add({
      path,
      message,
      value: text,
      allowed: "https://, http:// to this machine, or allow_http: true",
    });
  }
  return url.origin;
}

async function compileKeys(
  compiling: Compiling,
  path: readonly PropertyKey[],
  input: S3Input["credentials"],
): Promise<SiteKeys> {
  if (input === "instance-role") return { kind: "instance" };
  if (input === "container-role") return { kind: "container" };
  if (typeof input === "string") return { kind: "anonymous" };
  if ("file" in input) {
    const file = await checkSecret(compiling, [...path, "file"], { file: input.file });
    return { kind: "file", file, profile: input.profile };
  }
  const [accessKey, secretKey, sessionToken] = await Promise.all([
    checkSecret(compiling, [...path, "access_key"], input.access_key),
    checkSecret(compiling, [...path, "secret_key"], input.secret_key),
    input.session_token && checkSecret(compiling, [...path, "session_token"], input.session_token),
  ]);
  return { kind: "keys", accessKey, secretKey, sessionToken };
}
