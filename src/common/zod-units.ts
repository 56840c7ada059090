import { z } from "zod";
import { parseDuration, parseSize } from "./units.ts";

/** A duration as text (`10s`, `2h`, `1-02:00:00`) → milliseconds, positive. */
export function duration(): z.ZodType<number, string> {
  return z
    .string()
    .meta({ description: "a duration: 250ms, 10s, 5m, 2h, 1d, 1h30m or D-HH:MM:SS", examples: ["10s", "2h"] })
    .transform((text, context) => {
      const ms = parseDuration(text);
      if (ms !== undefined) return ms;
      context.addIssue({
        code: "custom",
        message: `'${text}' is not a duration; allowed: 250ms, 10s, 5m, 2h, 1d, 1h30m, D-HH:MM:SS`,
      });
      return z.NEVER;
    });
}

/** A size as text or whole number of bytes (`8GiB`, `500MB`, 4096) → bytes. */
export function size(): z.ZodType<number, string | number> {
  return z
    .union([z.string(), z.int().nonnegative()])
    .meta({
      description: "a size: bytes, or a number with KiB, MiB, GiB, TiB (1024) or kB, MB, GB, TB (1000)",
      examples: ["8GiB"],
    })
    .transform((value, context) => {
      const bytes = typeof value === "number" ? value : parseSize(value);
      if (bytes !== undefined) return bytes;
      context.addIssue({
        code: "custom",
        message: `'${value}' is not a size; allowed: a number of bytes, or with KiB, MiB, GiB, TiB, kB, MB, GB, TB`,
      });
      return z.NEVER;
    });
}
