/** qdel, qhold and qrls of the fake server. */
import { arrayState, endedStates, isTorque, type JobState, serverName, type Store } from "./store.ts";
import { type Output, start } from "./submit.ts";

const waiting = new Set(["Q", "W", "H"]);

export function qdel(store: Store, args: readonly string[]): Output {
  return forEach("qdel", store, args, (job) => {
    const parts = job.tasks === undefined ? [job] : store.tasksOf(job.id);
    for (const part of parts) remove(store, part.id);
    return undefined;
  });
}

/** One that waits is over at once and never ran; one that runs gets TERM. */
function remove(store: Store, id: string): void {
  if (store.take(id)) {
    const job = store.get(id);
    const state = isTorque ? "C" : job?.array === undefined ? "F" : "X";
    if (job) store.put({ ...job, state, substate: 91, obittime: Date.now(), ...(isTorque ? { exitStatus: 271 } : {}) });
    return;
  }
  for (let tries = 0; tries < 200; tries++) {
    const job = store.get(id);
    if (job === undefined || endedStates.has(job.state)) return;
    if (job.keeper !== undefined) {
      try {
        process.kill(job.keeper, "SIGTERM");
      } catch {
        // it is just ending
      }
      return;
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50); // it is just starting
  }
}

export function qhold(store: Store, args: readonly string[]): Output {
  return forEach("qhold", store, args, (job) => {
    if (!waiting.has(job.state)) return "Request invalid for state of job";
    store.put({ ...job, holdTypes: "u" });
    return undefined;
  });
}

export function qrls(store: Store, args: readonly string[]): Output {
  return forEach("qrls", store, args, (job) => {
    store.put({ ...job, holdTypes: "n" });
    start(store, job.id);
    return undefined;
  });
}

function forEach(
  name: string,
  store: Store,
  args: readonly string[],
  order: (job: JobState) => string | undefined,
): Output {
  const output: Output = { exitCode: 0, stdout: "", stderr: "" };
  for (const asked of args.filter((word) => /^\d/.test(word))) {
    const id = asked.includes(".") ? asked : `${asked}.${serverName}`;
    const found = store.get(id);
    const job = found?.tasks === undefined ? found : arrayState(found, store.tasksOf(id));
    const isOver = job !== undefined && endedStates.has(job.state);
    const unknown = job === undefined || job.purged === true || (isOver && store.faults().noHistory === true);
    const over = isTorque
      ? "Request invalid for state of job MSG=invalid state for job - COMPLETE"
      : "Job has finished";
    const words = unknown ? `Unknown Job Id${isTorque ? " Error" : ""}` : isOver ? over : order(job);
    if (words === undefined) continue;
    output.stderr += `${name}: ${words} ${id}\n`;
    output.exitCode = unknown ? 153 : isOver && !isTorque ? 35 : 168;
  }
  return output;
}
