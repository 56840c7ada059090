/** `npm run build`: src → dist, and proves that `bin/siteagent` starts what was built. */
import { join } from "node:path";
import { build } from "./build/build.ts";
import { captureStep, repository } from "./lib/run.ts";

try {
  const { files, assets } = await build();
  const started = await captureStep(join(repository, "bin", "siteagent"), ["version"]);
  if (started.code !== 0) throw new Error(`bin/siteagent version ended with ${started.code}\n${started.output}`);
  process.stdout.write(`dist: ${files} files, ${assets} of them copied; ${started.stdout.trim()}\n`);
} catch (error) {
  process.stderr.write(`npm run build: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
