/** The thread of file-thread.ts: calls exported functions, which may block here for as long as a disk takes. */
import { type MessagePort, parentPort } from "node:worker_threads";
import { type FileAnswer, type FileCall, toldError } from "./file-thread.ts";

type Exported = (...args: readonly unknown[]) => unknown;

const modules = new Map<string, Promise<Readonly<Record<string, Exported>>> | Readonly<Record<string, Exported>>>();

function serve(port: MessagePort): void {
  let answers: FileAnswer[] = [];
  const answer = (one: FileAnswer): void => {
    // What is done in one turn is told at once.
    if (answers.push(one) > 1) return;
    setImmediate(() => {
      port.postMessage(answers);
      answers = [];
    });
  };
  port.on("message", (calls: readonly FileCall[]) => {
    for (const call of calls) {
      const tell = (value: unknown): void => answer({ id: call.id, value });
      const fail = (error: unknown): void => answer({ id: call.id, error: toldError(error) });
      try {
        const value = carryOut(call);
        if (value instanceof Promise) value.then(tell, fail);
        else tell(value);
      } catch (error) {
        fail(error);
      }
    }
  });
}

function carryOut({ module, name, args }: FileCall): unknown {
  const known = modules.get(module);
  if (known === undefined || known instanceof Promise) return load(module).then((loaded) => run(loaded, name, args));
  return run(known, name, args);
}

function run(loaded: Readonly<Record<string, Exported>>, name: string, args: readonly unknown[]): unknown {
  const exported = loaded[name];
  if (!exported) throw new Error(`no function '${name}' for files`);
  return exported(...args);
}

async function load(module: string): Promise<Readonly<Record<string, Exported>>> {
  const known = modules.get(module);
  if (known) return await known;
  const loading = import(module) as Promise<Readonly<Record<string, Exported>>>;
  modules.set(module, loading);
  const loaded = await loading;
  modules.set(module, loaded);
  return loaded;
}

if (parentPort) serve(parentPort);
