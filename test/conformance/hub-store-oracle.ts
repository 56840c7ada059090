/**
 * MongoDB's rules for `find`, as a plain evaluator of the query object itself: what the compiled SQL is held against. Written from the
 * rules of the wire contract (§0.5) and MongoDB's description of arrays, without looking at the compiler.
 */
type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Doc = { [key: string]: Json };

/** "There is no such field." */
const nothing = Symbol("missing");
type Reached = Json | typeof nothing;

function isObject(value: Reached): value is Doc {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isDate(value: Reached): value is { $date: number } {
  return isObject(value) && Object.keys(value).join() === "$date" && typeof value["$date"] === "number";
}

/** Everything a dotted path leads to: `elements` says whether an array at its end also stands for each element. */
function reach(value: Reached, path: string[], elements: boolean): Reached[] {
  if (path.length === 0) return Array.isArray(value) && elements ? [...value, value] : [value];
  const [head = "", ...tail] = path;
  if (isObject(value)) return reach(Object.hasOwn(value, head) ? (value[head] ?? null) : nothing, tail, elements);
  if (!Array.isArray(value)) return [nothing];
  const viaElements = value.filter((item) => isObject(item)).flatMap((item) => reach(item, path, elements));
  const position = /^\d+$/.test(head) && String(Number(head)) === head ? value[Number(head)] : undefined;
  if (position === undefined) return viaElements;
  if (tail.length === 0) return [...viaElements, position];
  return isObject(position) || Array.isArray(position)
    ? [...viaElements, ...reach(position, tail, elements)]
    : viaElements;
}

export function oracle(query: Doc, document: Doc): boolean {
  return Object.entries(query).every(([key, wanted]) => {
    if (key === "$and") return (wanted as Doc[]).every((part) => oracle(part, document));
    if (key === "$or") return (wanted as Doc[]).some((part) => oracle(part, document));
    if (key === "$nor") return !(wanted as Doc[]).some((part) => oracle(part, document));
    return field(document, key.split("."), wanted);
  });
}

function isCondition(value: Json): value is Doc {
  return (
    isObject(value) &&
    !("$date" in value) &&
    Object.keys(value).length > 0 &&
    Object.keys(value).every((key) => key.startsWith("$"))
  );
}

function field(document: Doc, path: string[], wanted: Json): boolean {
  if (!isCondition(wanted)) return reach(document, path, true).some((value) => equal(value, wanted));
  return Object.entries(wanted).every(([operator, operand]) => {
    switch (operator) {
      case "$options":
        return true;
      case "$not":
        return !field(document, path, operand);
      case "$ne":
        return !field(document, path, { $eq: operand });
      case "$nin":
        return !field(document, path, { $in: operand });
      case "$exists":
        return reach(document, path, false).some((value) => value !== nothing) === (operand !== false);
      case "$all":
        return (
          (operand as Json[]).length > 0 && (operand as Json[]).every((one) => field(document, path, { $eq: one }))
        );
      case "$size":
      case "$elemMatch":
        return reach(document, path, false).some((value) => single(value, operator, operand, wanted));
      default:
        return reach(document, path, true).some((value) => single(value, operator, operand, wanted));
    }
  });
}

function single(value: Reached, operator: string, operand: Json, all: Doc): boolean {
  switch (operator) {
    case "$options":
      return true;
    case "$eq":
      return equal(value, operand);
    case "$in":
      return (operand as Json[]).some((one) => equal(value, one));
    case "$ne":
      return !equal(value, operand);
    case "$nin":
      return !(operand as Json[]).some((one) => equal(value, one));
    case "$exists":
      return (value !== nothing) === (operand !== false);
    case "$gt":
      return order(value, operand, (n) => n > 0);
    case "$gte":
      return order(value, operand, (n) => n >= 0);
    case "$lt":
      return order(value, operand, (n) => n < 0);
    case "$lte":
      return order(value, operand, (n) => n <= 0);
    case "$size":
      return Array.isArray(value) && value.length === operand;
    case "$type":
      return value !== nothing && typeName(value) === operand;
    case "$mod":
      return (
        typeof value === "number" &&
        Math.abs(value) < 2 ** 53 &&
        Math.trunc(value) % ((operand as number[])[0] ?? 1) === (operand as number[])[1]
      );
    case "$regex":
      return (
        typeof value === "string" &&
        new RegExp(operand as string, typeof all["$options"] === "string" ? all["$options"] : "").test(value)
      );
    case "$elemMatch": {
      if (!Array.isArray(value)) return false;
      const condition = operand as Doc;
      if (!isCondition(condition) || "$or" in condition)
        return value.some((item) => isObject(item) && oracle(condition, item));
      return value.some((item) =>
        Object.entries(condition).every(([name, inner]) => single(item, name, inner, condition)),
      );
    }
    default:
      throw new Error(`the oracle does not know ${operator}`);
  }
}

function typeName(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (isDate(value)) return "date";
  return typeof value === "boolean" ? "bool" : typeof value;
}

function equal(value: Reached, wanted: Json): boolean {
  if (value === nothing || wanted === null) return wanted === null && (value === nothing || value === null);
  if (Array.isArray(wanted)) {
    return (
      Array.isArray(value) && value.length === wanted.length && value.every((item, i) => deep(item, wanted[i] ?? null))
    );
  }
  return deep(value, wanted);
}

/** Equal values; the order of keys does not count. */
function deep(a: Json, b: Json): boolean {
  if (Array.isArray(a))
    return Array.isArray(b) && a.length === b.length && a.every((item, i) => deep(item, b[i] ?? null));
  if (isObject(a)) {
    const keys = Object.keys(a);
    return (
      isObject(b) &&
      keys.length === Object.keys(b).length &&
      keys.every((key) => Object.hasOwn(b, key) && deep(a[key] ?? null, b[key] ?? null))
    );
  }
  return a === b;
}

/** Only values of the same kind have an order. */
function order(value: Reached, bound: Json, accept: (n: number) => boolean): boolean {
  if (bound === null) return accept(0) && equal(value, null);
  if (value === nothing || value === null || typeName(value) !== typeName(bound)) return false;
  if (isDate(value) && isDate(bound)) return accept(value.$date - bound.$date);
  if (typeof value === "string" && typeof bound === "string")
    return accept(Buffer.from(value).compare(Buffer.from(bound)));
  return accept(Number(value) - Number(bound));
}
