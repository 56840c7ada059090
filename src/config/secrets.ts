import { join } from "node:path";
import { Fault } from "../common/fault.ts";
import { readSecretFile, type SecretPlace } from "../common/secret-file.ts";
import type { SecretInput } from "./secret-schema.ts";
import type { SecretRef } from "./types.ts";

/** Where a declared secret lies, or a sentence saying why that cannot be told. `absolute` resolves `~` and relative paths. */
export function secretRef(
  input: SecretInput,
  absolute: (path: string) => string,
  env: NodeJS.ProcessEnv,
): SecretRef | { readonly problem: string; readonly allowed: string } {
  if ("file" in input) {
    const path = absolute(input.file);
    return { path, label: path };
  }
  const directory = env["CREDENTIALS_DIRECTORY"];
  if (!directory) {
    return {
      problem: `credential '${input.credential}' cannot be found: CREDENTIALS_DIRECTORY is not set`,
      allowed: `a unit with LoadCredential=${input.credential}:PATH, or {file: PATH}`,
    };
  }
  return { path: join(directory, input.credential), label: `credential ${input.credential}` };
}

/**
 * The secret itself, without the line end. Checked at each read (`readSecretFile`).
 * @throws Fault SECRET naming the file and the repair; never the content.
 */
export async function readSecret(ref: SecretRef): Promise<string> {
  const bytes = await readSecretFile(secretPlace(ref));
  const secret = bytes.toString("utf8").replace(/\r?\n$/, "");
  if (secret === "") throw new Fault("SECRET", `the secret '${ref.label}' is empty`);
  return secret;
}

/** For those who read it as bytes. */
export function secretPlace(ref: SecretRef): SecretPlace {
  return { ...ref, credential: ref.label.startsWith("credential ") };
}
