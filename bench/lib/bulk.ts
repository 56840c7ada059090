import { setTimeout as sleep } from "node:timers/promises";
import type { TestSite } from "../../test/helpers/site.ts";

/**
 * Creates jobs in bulk and waits until the hub says that the last has ended, which takes one query of its list each 0.2 s.
 * @returns seconds. @throws Error when one is refused or the agent ends
 */
export async function runInBulk(site: TestSite, workflow: string, count: number): Promise<number> {
  const startedAt = performance.now();
  const results = await site.client.bulk(Array.from({ length: count }, () => ({ workflow, config: {} })));
  const refused = results.find((result) => !("id" in result) && !("job" in result));
  if (refused) throw new Error(`a job was refused: ${JSON.stringify(refused)}`);
  for (;;) {
    const { total } = await site.client.jobPage({ active: true, limit: 1 });
    if (total === 0) return (performance.now() - startedAt) / 1000;
    if (site.agent?.running !== true) throw new Error(`the agent ended:\n${site.agent?.stderr.slice(-2000)}`);
    await sleep(200);
  }
}
