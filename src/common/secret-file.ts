import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { errnoOf, Fault } from "./fault.ts";

const maxSecretBytes = 64 * 1024;

export interface SecretPlace {
  readonly path: string;
  /** What messages call it. */
  readonly label: string;
  /** A systemd credential may be group-readable by its own design. */
  readonly credential?: boolean;
}

/**
 * A secret's bytes. Checked at each read: a plain file of our own account (or root's), mode 0600 or 0400, not empty, at most 64 KiB.
 * @throws Fault SECRET naming the file and the repair; never the content.
 */
export async function readSecretFile({ path, label, credential = false }: SecretPlace): Promise<Buffer> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    throw new Fault("SECRET", `the secret '${label}' cannot be read: ${errnoOf(error) ?? "unknown error"}`, {
      cause: error,
    });
  });
  try {
    const found = await handle.stat();
    const { mode, uid, size } = found;
    if (!found.isFile()) throw new Fault("SECRET", `the secret '${label}' is not a plain file`);
    const own = process.getuid?.() ?? 0;
    if (uid !== own && uid !== 0)
      throw new Fault("SECRET", `the secret '${label}' belongs to uid '${uid}', expected '${own}' or '0'`);
    if ((mode & 0o077) !== 0 && !credential) {
      const text = (mode & 0o7777).toString(8).padStart(4, "0");
      throw new Fault("SECRET", `the secret '${label}' has mode '${text}', allowed are 0600 and 0400`, {
        hint: `chmod 600 '${path}'`,
      });
    }
    if (size > maxSecretBytes)
      throw new Fault("SECRET", `the secret '${label}' has '${size}' bytes, at most ${maxSecretBytes} are read`);
    const secret = await handle.readFile();
    if (secret.length === 0) throw new Fault("SECRET", `the secret '${label}' is empty`);
    return secret;
  } finally {
    await handle.close();
  }
}
