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
      hooks: { streamWrite: (line) => censored(line).replaceAll(terminalControls, escapeOf) },
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ fd: options.fd ?? 1, sync: true }),
  );
}

/** JSON leaves these as they are, and some terminals obey them. */
const terminalControls = /[\u007f-\u009f\u2028\u2029]/g;

/** What is never logged, under whatever it stands. */
const secretKeys: ReadonlySet<string> = new Set([
  "secret",
  "password",
  "token",
  "access_token",
  "client_secret",
  "authorization",
]);
const secretKey = new RegExp(`"(?:${[...secretKeys].join("|")})":`);

/** Looks at the line that is to be written: pino's own redaction takes half of the time of a line, and almost no line has anything to hide. */
function censored(line: string): string {
  if (!secretKey.test(line)) return line;
  const hide = (key: string, value: unknown): unknown => (secretKeys.has(key) ? "[redacted]" : value);
  return `${JSON.stringify(JSON.parse(line, hide))}\n`;
}

function escapeOf(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
