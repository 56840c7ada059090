/**
 * Swaps directories and links below a root as fast as it can, in a process of its own: `node swapper.ts ROOT OUTSIDE MILLISECONDS`.
 * Prints how often.
 */
import { renameSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";

const [root = "", outside = "", forMs = "0"] = process.argv.slice(2);
const attempt = (action: () => void): void => {
  try {
    action();
  } catch {
    // the other side was faster
  }
};

process.stdout.write("swapping\n");
let count = 0;
for (const end = performance.now() + Number(forMs); performance.now() < end; count++) {
  const name = join(root, ["a", "a/b", "file"][count % 3] ?? "");
  attempt(() => renameSync(name, join(root, "aside")));
  attempt(() => symlinkSync(count % 3 === 2 ? join(outside, "secret") : outside, name));
  attempt(() => rmSync(name, { force: true }));
  attempt(() => renameSync(join(root, "aside"), name));
}
process.stdout.write(`${count} swaps\n`);
