import { Fault } from "../../common/fault.ts";
import type { Keys } from "./keys.ts";

/**
 * The keys of one profile of a file in the format of `~/.aws/credentials` ("Configuration and credential file settings" of the AWS
 * command line): sections in brackets, `key = value`, comments at the beginning of a line. `label` is what messages call the file.
 * @throws Fault SECRET naming file and profile, never a value.
 */
export function parseProfile(text: string, profile: string, label: string): Keys {
  const values = new Map<string, string>();
  const profiles: string[] = [];
  let inside = false;
  for (const line of text.split(/\r?\n/)) {
    const section = /^\s*\[\s*(?:profile\s+)?([^\]]*?)\s*\]/.exec(line)?.[1];
    if (section !== undefined) {
      profiles.push(section);
      inside = section === profile;
      continue;
    }
    const [, name, value] = /^([A-Za-z_]+)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (inside && name !== undefined && value !== undefined) values.set(name.toLowerCase(), value);
  }
  const accessKeyId = values.get("aws_access_key_id");
  const secretAccessKey = values.get("aws_secret_access_key");
  if (!accessKeyId || !secretAccessKey) {
    const there = profiles.includes(profile);
    const lack = there ? "has no aws_access_key_id and aws_secret_access_key" : "is not there";
    throw new Fault("SECRET", `profile '${profile}' of '${label}' ${lack}`, {
      hint: there ? "write both keys into it" : `profiles of this file: ${profiles.join(", ") || "none"}`,
    });
  }
  return {
    accessKeyId,
    secretAccessKey,
    sessionToken: values.get("aws_session_token") || undefined,
    expiresAtMs: undefined,
  };
}
