import { formatDuration } from "../../common/units.ts";

/** `5m ago`, `in 2h 3m`, `now`: how far a moment is from `now` (milliseconds). */
export function relative(iso: string, now: number): string {
  const distance = now - Date.parse(iso);
  if (Number.isNaN(distance)) return "?";
  if (Math.abs(distance) < 1000) return "now";
  const text = formatDuration(Math.abs(distance));
  return distance > 0 ? `${text} ago` : `in ${text}`;
}

/** The largest unit only, for narrow columns: `5m`. */
export function shortAge(iso: string, now: number): string {
  const distance = Math.max(0, now - Date.parse(iso));
  if (Number.isNaN(distance)) return "?";
  return distance < 1000 ? "0s" : (formatDuration(distance).split(" ")[0] ?? "");
}

/** `2026-11-20 12:15:16 CET`: local time with its zone, or UTC. */
export function localTime(iso: string, utc: boolean): string {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return iso;
  if (utc) return `${iso10(date)} ${date.toISOString().slice(11, 19)} UTC`;
  const parts = new Intl.DateTimeFormat("en-GB", {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    timeZoneName: "short",
  }).formatToParts(date);
  const of = (type: Intl.DateTimeFormatPartTypes): string => parts.find((part) => part.type === type)?.value ?? "";
  const day = `${of("year")}-${of("month")}-${of("day")}`;
  return `${day} ${of("hour")}:${of("minute")}:${of("second")} ${of("timeZoneName")}`;
}

/** `2026-11-20 12:15:16 CET (5m ago)`. */
export function timeAndAge(iso: string, now: number, utc: boolean): string {
  return `${localTime(iso, utc)} (${relative(iso, now)})`;
}

/** How long something took, or has taken until `now`. */
export function elapsed(from: string, to: string | null, now: number): string {
  const ms = (to === null ? now : Date.parse(to)) - Date.parse(from);
  return Number.isNaN(ms) ? "?" : formatDuration(Math.max(0, ms));
}

function iso10(date: Date): string {
  return date.toISOString().slice(0, 10);
}
