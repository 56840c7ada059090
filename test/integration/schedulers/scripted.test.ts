import { describeScheduler } from "../../conformance/scheduler.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { ScriptedScheduler } from "../../helpers/scripted-scheduler.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

failOnLeakedProcesses();

// The stand-in by which launchers are tested keeps the promises of the real ones.
describeScheduler("scripted", async () => {
  const directory = await temporaryDirectory("sa-scripted-");
  const scheduler = new ScriptedScheduler(directory.path);
  return {
    scheduler,
    workdir: directory.path,
    small: {
      resources: { nodes: 1, ranks_per_node: 1, threads_per_rank: 1, gpus: 0 },
      walltimeS: 600,
      placement: { native: [] },
    },
    waiting: ["--wait"],
    wrongQueue: "wrong",
    neverUsedId: "99999",
    async outage() {
      scheduler.faults.down = true;
      return {
        async [Symbol.asyncDispose]() {
          scheduler.faults.down = false;
        },
      };
    },
    async [Symbol.asyncDispose]() {
      await scheduler[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
});
