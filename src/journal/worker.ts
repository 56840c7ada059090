/** The journal's writing thread: file calls may block here for as long as a disk takes, and nobody else waits. */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { systemClock } from "../common/clock.ts";
import { systemDisk } from "./disk.ts";
import type { ToWorker, WorkerData } from "./messages.ts";
import { serve, type WriterPort } from "./writing.ts";

/** Messages come in lists: what was posted in one turn of the main loop. */
function portOf(port: MessagePort): WriterPort {
  /** Of the list that is being told, those that come after the message told now. */
  let rest: ToWorker[] = [];
  return {
    post: (message, transfer = []) => port.postMessage(message, transfer),
    listen(arrived) {
      port.on("message", (list: readonly ToWorker[]) => {
        rest.push(...list);
        for (let next = rest.shift(); next; next = rest.shift()) arrived(next);
      });
    },
    take() {
      const taken = rest;
      rest = [];
      for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) {
        taken.push(...(next.message as readonly ToWorker[]));
      }
      return taken;
    },
    close: () => port.close(),
  };
}

if (parentPort) {
  await serve(portOf(parentPort), workerData as WorkerData, { disk: systemDisk, clock: systemClock });
}
