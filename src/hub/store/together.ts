/**
 * The answers to queries that were asked at once. Waits for all also when one fails, so that none of them still runs when its transaction
 * is undone. Throws the first failure.
 */
export async function together<const Queries extends readonly Promise<unknown>[]>(
  queries: Queries,
): Promise<{ -readonly [Index in keyof Queries]: Awaited<Queries[Index]> }> {
  await Promise.allSettled(queries);
  return Promise.all(queries);
}
