import { FileThread, inFileThread } from "../common/file-thread.ts";
import type * as many from "./many.ts";

/** Digests and syncs take seconds: they have a thread of their own, so that nothing else that asks for files waits for them. */
export const transferThread = new FileThread();

const [base, path] = [import.meta.url, "./many"];
export const examine = inFileThread<typeof many.examine>(base, path, "examine", transferThread);
export const settle = inFileThread<typeof many.settle>(base, path, "settle", transferThread);
export const measure = inFileThread<typeof many.measure>(base, path, "measure", transferThread);
export const discard = inFileThread<typeof many.discard>(base, path, "discard", transferThread);
