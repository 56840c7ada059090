import { join } from "node:path";
import { counted } from "./counted.ts";

/**
 * For the environment of every Node that a test starts: what Node made of the sources is kept between the many processes of a run, and each
 * starts with a third of the work. Nothing while V8 counts what runs: its counts would be coarse.
 */
export const compileCache: Readonly<Record<string, string>> = counted
  ? {}
  : { NODE_COMPILE_CACHE: join(import.meta.dirname, "..", "..", "node_modules", ".cache", "siteagent-tests") };
