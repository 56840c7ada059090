import { accessSync, constants } from "node:fs";
import { asFault } from "../common/fault.ts";
import type { LoadedConfig } from "./load.ts";
import type { Registries } from "./registries.ts";
import type { SecretInput } from "./secret-schema.ts";
import { readSecret, secretRef } from "./secrets.ts";
import type { SiteSettings } from "./site-schema.ts";
import type { SecretRef } from "./types.ts";

/** What every part of compile needs. */
export interface Compiling {
  readonly loaded: LoadedConfig<SiteSettings>;
  readonly settings: SiteSettings;
  readonly registries: Registries;
  readonly env: NodeJS.ProcessEnv;
  /** `~` and relative paths → absolute, against the file's directory. */
  readonly absolute: (path: string) => string;
}

export type AppSettings = SiteSettings["apps"][string];

export async function checkSecret(
  { loaded, absolute, env }: Compiling,
  path: readonly PropertyKey[],
  input: SecretInput,
): Promise<SecretRef> {
  const ref = secretRef(input, absolute, env);
  if ("problem" in ref) {
    loaded.report.add({ path, message: ref.problem, allowed: ref.allowed });
    return { path: "/", label: "none" };
  }
  try {
    await readSecret(ref);
  } catch (error) {
    const fault = asFault(error, "SECRET");
    loaded.report.add({ path, message: fault.message, allowed: fault.hint });
  }
  return ref;
}

export function checkReadable({ loaded }: Compiling, path: readonly PropertyKey[], file: string): void {
  try {
    accessSync(file, constants.R_OK);
  } catch {
    loaded.report.add({
      path,
      message: `'${file}' cannot be read`,
      value: file,
      allowed: "a file that this account may read",
    });
  }
}
