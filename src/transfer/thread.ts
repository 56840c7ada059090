import { FileThread, inFileThread } from "../common/file-thread.ts";
import type * as many from "./many.ts";

/** Digests and syncs take seconds: they have a thread of their own, so that nothing else that asks for files waits for them. */
const thread = new FileThread();

const [base, path] = [import.meta.url, "./many"];
export const examine = inFileThread<typeof many.examine>(base, path, "examine", thread);
export const settle = inFileThread<typeof many.settle>(base, path, "settle", thread);
export const measure = inFileThread<typeof many.measure>(base, path, "measure", thread);
export const discard = inFileThread<typeof many.discard>(base, path, "discard", thread);
