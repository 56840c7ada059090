/** What the cases of the suites say about what they found. No test framework: the same cases run from `siteagent conformance`. */
import { inspect, isDeepStrictEqual } from "node:util";

/** Something that must hold and does not; the message says what was found. */
export class NotKept extends Error {
  override readonly name = "NotKept";
}

/** @throws NotKept unless both are the same in depth; a member that is undefined is the same as none. */
export function equal(actual: unknown, expected: unknown, what?: string): void {
  if (!isDeepStrictEqual(bare(actual), bare(expected))) differ(actual, expected, what);
}

/** @throws NotKept when both are the same. */
export function differs(actual: unknown, other: unknown, what?: string): void {
  if (isDeepStrictEqual(actual, other)) throw new NotKept(`${words(what)}expected anything but ${shown(other)}`);
}

/**
 * @throws NotKept unless `actual` has what `part` says: members of objects, each element of a list, a text that fits an expression, whatever a
 * function finds right.
 */
export function like(actual: unknown, part: unknown, what?: string): void {
  if (!fits(actual, part)) differ(actual, part, what);
}

/** @throws NotKept unless the text has this part, or the list this element. */
export function contains(whole: string | readonly unknown[], part: unknown): void {
  if (!has(whole, part)) throw new NotKept(`expected ${shown(part)} in ${shown(whole)}`);
}

/** @throws NotKept when the text has this part, or the list this element. */
export function lacks(whole: string | readonly unknown[], part: unknown): void {
  if (has(whole, part)) throw new NotKept(`expected no ${shown(part)} in ${shown(whole)}`);
}

/** @throws NotKept unless it is so; `what` says what was expected, and what was found. */
export function holds(condition: boolean, what: string): void {
  if (!condition) throw new NotKept(what);
}

/** @throws NotKept unless it rejects with an error that is as `part` says (see `like`). */
export async function rejects(promise: Promise<unknown>, part: unknown): Promise<void> {
  const [outcome] = await Promise.allSettled([promise]);
  if (outcome?.status !== "rejected")
    throw new NotKept(`expected an error ${shown(part)}, got ${shown(outcome?.value)}`);
  like(outcome.reason, part, "the error");
}

function fits(actual: unknown, part: unknown): boolean {
  if (part instanceof RegExp) return typeof actual === "string" && part.test(actual);
  if (typeof part === "function") return (part as (actual: unknown) => boolean)(actual);
  if (Array.isArray(part)) {
    return Array.isArray(actual) && actual.length === part.length && part.every((each, at) => fits(actual[at], each));
  }
  if (typeof part !== "object" || part === null) return Object.is(actual, part);
  if (typeof actual !== "object" || actual === null) return false;
  return Object.entries(part).every(([key, each]) => fits(Reflect.get(actual, key), each));
}

function has(whole: string | readonly unknown[], part: unknown): boolean {
  if (typeof whole === "string") return whole.includes(String(part));
  return whole.some((each) => isDeepStrictEqual(each, part));
}

/** Without members that are undefined. */
function bare(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(bare);
  if (typeof value !== "object" || value === null) return value;
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return Object.fromEntries(entries.map(([key, each]) => [key, bare(each)]));
}

function differ(actual: unknown, expected: unknown, what: string | undefined): never {
  throw new NotKept(`${words(what)}expected ${shown(expected)}, got ${shown(actual)}`);
}

function words(what: string | undefined): string {
  return what === undefined ? "" : `${what}: `;
}

function shown(value: unknown): string {
  return inspect(value, { depth: 6, breakLength: Number.POSITIVE_INFINITY, maxStringLength: 500, maxArrayLength: 50 });
}
