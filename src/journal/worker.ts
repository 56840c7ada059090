/** The journal's writing thread: file calls may block here for as long as a disk takes, and nobody else waits. */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { systemClock } from "../common/clock.ts";
import { systemDisk } from "./disk.ts";
import type { ToWorker, WorkerData } from "./messages.ts";
import { serve, type WriterPort } from "./writing.ts";

function portOf(port: MessagePort): WriterPort {
  return {
    post: (message, transfer = []) => port.postMessage(message, transfer),
    listen: (arrived) => port.on("message", arrived),
    take() {
      const taken: ToWorker[] = [];
      for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) {
        taken.push(next.message as ToWorker);
      }
      return taken;
    },
    close: () => port.close(),
  };
}

if (parentPort) {
  await serve(portOf(parentPort), workerData as WorkerData, { disk: systemDisk, clock: systemClock });
}
