import { killCases, type KillCase } from "../../test/helpers/kill-cases.ts";
import type { Dialect } from "../../test/helpers/kill-scenarios.ts";
import { KillStage, nameOf } from "../../test/helpers/kill-stage.ts";
import type { Phase, PhaseResult } from "./phases.ts";

/** Sites at the same time; two of them keep two cores busy. */
const stages = 3;

/** Every failpoint with every victim in both dialects, each from rest to rest, on a few sites at once. */
export const matrix: Phase = {
  name: "matrix",
  async run({ say, only }): Promise<PhaseResult> {
    const cases = killCases.filter((one) => only === undefined || nameOf(one).includes(only));
    // The long ones first, so that nobody waits for them at the end.
    const queue = cases.toSorted((a, b) => Number(b.slow === true) - Number(a.slow === true));
    const failures: string[] = [];
    let done = 0;
    async function lane(dialect: Dialect): Promise<void> {
      await using stage = new KillStage(dialect);
      for (let one = take(queue, dialect); one; one = take(queue, dialect)) {
        try {
          await stage.run(one);
        } catch (error) {
          const failure = error instanceof Error ? error.message : String(error);
          failures.push(failure);
          say(`FAILED ${failure.split("\n", 1)[0]}`);
        }
        done++;
        if (done % 20 === 0) say(`${done} of ${cases.length} cases, ${failures.length} failed`);
      }
    }
    const dialects: Dialect[] = Array.from({ length: stages }, (_, n) => (n % 2 === 0 ? "hub" : "nmdc"));
    await Promise.all(dialects.map((dialect) => lane(dialect)));
    // Whoever was through first helps with the rest.
    await Promise.all(dialects.map(() => lane(queue[0]?.dialect ?? "hub")));
    const counts = Object.entries(Object.groupBy(cases, ({ victim }) => victim)).map(
      ([victim, some]) => [`killed: ${victim}`, some.length] as const,
    );
    return { counts: [["cases", cases.length], ...counts], failures };
  },
};

function take(queue: KillCase[], dialect: Dialect): KillCase | undefined {
  const index = queue.findIndex((one) => one.dialect === dialect);
  return index < 0 ? undefined : queue.splice(index, 1)[0];
}
