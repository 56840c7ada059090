/**
 * The part of undici that we use: `request` through an `Agent`. Its main module loads mocks, caches, WebSockets and fetch besides, which
 * costs every command 60 ms of processor time and every daemon some 13 MiB. The version is pinned, and a test says when the paths move.
 */
import { createRequire } from "node:module";
import type undici from "undici";
import type { Dispatcher } from "undici";

type RequestOptions = Omit<Dispatcher.RequestOptions, "origin" | "path"> & { readonly dispatcher: Dispatcher };

const load = createRequire(import.meta.url);
const perform = load("undici/lib/api/api-request.js") as (
  this: Dispatcher,
  options: Dispatcher.RequestOptions,
) => Promise<Dispatcher.ResponseData>;

export const Agent = load("undici/lib/dispatcher/agent.js") as typeof undici.Agent;
export type Agent = InstanceType<typeof Agent>;
export type { Dispatcher };

/** One request; redirects are not followed. The body of the answer has to be read or dumped. */
export async function request(url: string | URL, options: RequestOptions): Promise<Dispatcher.ResponseData> {
  const { dispatcher, ...rest } = options;
  const { origin, pathname, search } = new URL(url);
  return perform.call(dispatcher, { ...rest, origin, path: `${pathname}${search}` });
}
