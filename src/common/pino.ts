import { pino } from "pino";
import type { Logger } from "./logger.ts";

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/** JSON lines on `stream` (default stdout, written synchronously: nothing is lost at exit). Errors go under `err`. */
export function createLogger(options: { readonly level?: LogLevel; readonly fd?: number } = {}): Logger {
  return pino(
    {
      level: options.level ?? "info",
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      // JSON leaves these as they are, and some terminals obey them.
      hooks: { streamWrite: (line) => line.replaceAll(/[\u007f-\u009f\u2028\u2029]/g, escapeOf) },
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: [
          "secret",
          "password",
          "token",
          "access_token",
          "client_secret",
          "*.secret",
          "*.password",
          "*.token",
          "headers.authorization",
        ],
        censor: "[redacted]",
      },
    },
    pino.destination({ fd: options.fd ?? 1, sync: true }),
  );
}

function escapeOf(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
