/** Attempts as tests launch, follow and stop them; no part of a test framework. */
import { readOut } from "../../../src/conformance/launcher/attempts.ts";
import { waitFor } from "../../helpers/wait.ts";

export {
  context,
  launchOne,
  makePlan,
  readOut,
  statusNow,
  stopped,
  untilState,
} from "../../../src/conformance/launcher/attempts.ts";

/** The first numbers that it printed, one a line. */
export async function pidsPrinted(
  plan: { readonly directory: string },
  count: number,
): Promise<readonly [number, ...number[]]> {
  return await waitFor(
    async () => {
      const [first, ...more] = (await readOut(plan)).split("\n").filter(Boolean).map(Number);
      return first !== undefined && more.length >= count - 1 ? ([first, ...more] as const) : undefined;
    },
    { what: `${count} pids` },
  );
}
