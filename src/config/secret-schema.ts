import { z } from "zod";

/** `x-secret` marks schema nodes whose value no message, log or page may show. */
export const secretSchema = z
  .union([
    z.strictObject({
      file: z
        .string()
        .min(1)
        .max(4096)
        .meta({ description: "a file with mode 0600 or 0400, owned by the account that reads it" }),
    }),
    z.strictObject({
      credential: z
        .string()
        .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, "a name: letters, digits, _ . -")
        .meta({ description: "a systemd credential (LoadCredential=NAME:…)" }),
    }),
  ])
  .meta({ "x-secret": true, description: "where the secret lies: {file: PATH} or {credential: NAME}" });
export type SecretInput = z.output<typeof secretSchema>;
