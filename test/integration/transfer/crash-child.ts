/** Runs a task as a program of its own, so that it can be killed: argv[2] is its JSON. */
import { type ChildTask, runTask } from "./crash-task.ts";

const task = JSON.parse(process.argv[2] ?? "") as ChildTask;
const outcome = await runTask(task, (entry) => void process.stdout.write(`file ${JSON.stringify(entry)}\n`));
process.stdout.write(`done ${JSON.stringify(outcome)}\n`);
