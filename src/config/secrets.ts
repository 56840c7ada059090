import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf, Fault } from "../common/fault.ts";
import type { SecretInput } from "./secret-schema.ts";
import type { SecretRef } from "./types.ts";

const maxSecretBytes = 64 * 1024;

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
 * The secret itself, without the line end. Checked at each read: a plain file of our own account (or root's), mode 0600 or 0400 (a
 * systemd credential may be group-readable by its own design), not empty, at most 64 KiB.
 * @throws Fault SECRET naming the file and the repair; never the content.
 */
export async function readSecret(ref: SecretRef): Promise<string> {
  const handle = await open(ref.path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    throw new Fault("SECRET", `the secret '${ref.label}' cannot be read: ${errnoOf(error) ?? "unknown error"}`, {
      cause: error,
    });
  });
  try {
    const found = await handle.stat();
    const { mode, uid, size } = found;
    if (!found.isFile()) throw new Fault("SECRET", `the secret '${ref.label}' is not a plain file`);
    const own = process.getuid?.() ?? 0;
    if (uid !== own && uid !== 0)
      throw new Fault("SECRET", `the secret '${ref.label}' belongs to uid '${uid}', expected '${own}' or '0'`);
    if ((mode & 0o077) !== 0 && !ref.label.startsWith("credential ")) {
      const text = (mode & 0o7777).toString(8).padStart(4, "0");
      throw new Fault("SECRET", `the secret '${ref.label}' has mode '${text}', allowed are 0600 and 0400`, {
        hint: `chmod 600 '${ref.path}'`,
      });
    }
    if (size > maxSecretBytes)
      throw new Fault("SECRET", `the secret '${ref.label}' has '${size}' bytes, at most ${maxSecretBytes} are read`);
    const secret = (await handle.readFile("utf8")).replace(/\r?\n$/, "");
    if (secret === "") throw new Fault("SECRET", `the secret '${ref.label}' is empty`);
    return secret;
  } finally {
    await handle.close();
  }
}
