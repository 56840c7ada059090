/** Makes everything durable that was written to a file system, for the thread for transfers. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { stat } from "node:fs/promises";

interface Syncs {
  readonly running: Promise<boolean>;
  /** Begins when that one has ended. */
  following: Promise<boolean> | undefined;
}

/** By device. */
const underWay = new Map<number, Syncs>();

/**
 * Who asks while one runs shares the next with all who ask meanwhile: that one may have passed by what they wrote. The thread does other
 * work meanwhile. False where the program for it is not there, or is another one.
 */
export async function syncFileSystem(directory: string): Promise<boolean> {
  const { dev } = await stat(directory);
  const now = underWay.get(dev);
  if (!now) return await begin(dev, directory);
  now.following ??= now.running.then(() => begin(dev, directory));
  return await now.following;
}

function begin(dev: number, directory: string): Promise<boolean> {
  const running = sync(directory);
  const own: Syncs = { running, following: undefined };
  underWay.set(dev, own);
  void running.then(() => {
    if (own.following === undefined) underWay.delete(dev);
  });
  return running;
}

/** Never rejects. */
async function sync(directory: string): Promise<boolean> {
  try {
    const [code] = (await once(spawn("sync", ["-f", directory], { stdio: "ignore" }), "exit")) as [number | null];
    return code === 0;
  } catch {
    return false;
  }
}
