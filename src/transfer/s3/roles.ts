/** Keys that a cloud gives to its machines and containers. */
import type { CallContext } from "../../common/context.ts";
import { asFault, Fault } from "../../common/fault.ts";
import { isJsonObject } from "../../common/json.ts";
import { readSecretFile } from "../../common/secret-file.ts";
import { Agent, request } from "../../common/undici.ts";
import { throwIfStopped } from "../errors.ts";
import type { Keys } from "./keys.ts";
import { boundedText } from "./xml.ts";

const longestAnswerBytes = 64 * 1024;
const timeoutMs = 5_000;

interface Call {
  readonly method: "GET" | "PUT";
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Of the machine's role, by version 2 of the metadata service ("Instance metadata and user data" of the EC2 guide).
 * `AWS_EC2_METADATA_SERVICE_ENDPOINT` names another address. @throws Fault TRANSFER.
 */
export async function instanceKeys(env: NodeJS.ProcessEnv, context: CallContext): Promise<Keys> {
  const base = (env["AWS_EC2_METADATA_SERVICE_ENDPOINT"] || "http://169.254.169.254").replace(/\/+$/, "");
  const lifetime = { "x-aws-ec2-metadata-token-ttl-seconds": "300" };
  return await asking("the metadata service of this machine", context, async (ask) => {
    const token = await ask(`${base}/latest/api/token`, { method: "PUT", headers: lifetime });
    const call = { method: "GET", headers: { "x-aws-ec2-metadata-token": token.trim() } } as const;
    const roles = `${base}/latest/meta-data/iam/security-credentials/`;
    const [role = ""] = (await ask(roles, call)).trim().split("\n");
    return await ask(`${roles}${encodeURIComponent(role)}`, call);
  });
}

/** Of a container's role, by the variables that its starter set ("Container credential provider" of the AWS SDKs). @throws Fault SECRET, TRANSFER. */
export async function containerKeys(env: NodeJS.ProcessEnv, context: CallContext): Promise<Keys> {
  const relative = env["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"];
  const url = relative ? `http://169.254.170.2${relative}` : env["AWS_CONTAINER_CREDENTIALS_FULL_URI"];
  if (!url || !URL.canParse(url)) {
    throw new Fault("SECRET", "no container's role: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and …_FULL_URI are not set");
  }
  const file = env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];
  // Kubernetes mounts it readable for the container's group.
  const place = { path: file ?? "", label: file ?? "", credential: true };
  const token = file ? (await readSecretFile(place)).toString("utf8").trim() : env["AWS_CONTAINER_AUTHORIZATION_TOKEN"];
  const headers: Record<string, string> = token ? { authorization: token } : {};
  return await asking("the service for the container's role", context, (ask) => ask(url, { method: "GET", headers }));
}

type Ask = (url: string, call: Call) => Promise<string>;

/** Runs a conversation with a service of the cloud and reads its last answer. */
async function asking(who: string, context: CallContext, talk: (ask: Ask) => Promise<string>): Promise<Keys> {
  const agent = new Agent({ connect: { timeout: timeoutMs }, headersTimeout: timeoutMs, bodyTimeout: timeoutMs });
  try {
    const text = await talk(async (url, call) => {
      const answer = await request(url, { dispatcher: agent, signal: context.signal, ...call });
      const body = await boundedText(answer.body, longestAnswerBytes);
      if (answer.statusCode !== 200 || body === undefined) throw new Error(`it answered ${answer.statusCode}`);
      return body;
    });
    const keys = keysIn(text);
    if (!keys) throw new Error("it answered without keys");
    return keys;
  } catch (error) {
    throwIfStopped(context.signal);
    throw new Fault("TRANSFER", `${who} gives no keys: ${asFault(error).message}`, {
      hint: "check that the machine or container has a role, or name a file with keys",
    });
  } finally {
    await agent.destroy();
  }
}

function keysIn(text: string): Keys | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined; // the parser's message would show the text
  }
  if (!isJsonObject(value)) return undefined;
  const { AccessKeyId: id, SecretAccessKey: secret, Token: token, Expiration: expiration } = value;
  if (typeof id !== "string" || typeof secret !== "string") return undefined;
  const at = typeof expiration === "string" ? Date.parse(expiration) : Number.NaN;
  return {
    accessKeyId: id,
    secretAccessKey: secret,
    sessionToken: typeof token === "string" ? token : undefined,
    expiresAtMs: Number.isNaN(at) ? undefined : at,
  };
}
