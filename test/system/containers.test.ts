/** Jobs of a whole installation in real containers: claimed, run, cancelled, and nothing left of them. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { describeWithEngine } from "../helpers/engines/index.ts";
import { isAlive, listProcesses } from "../helpers/processes.ts";
import { TestSite } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";
import { type ContainerPlace, podmanPlace } from "../integration/launchers/container-places.ts";

describeWithEngine("podman", "jobs in containers of Podman", () => {
  let place: ContainerPlace;
  beforeAll(async () => {
    place = await podmanPlace();
  }, 90_000);
  afterAll(async () => {
    await place[Symbol.asyncDispose]();
  }, 90_000);

  it("end with outputs; a cancelled one is told when its container is gone", { timeout: 180_000 }, async () => {
    const { environment, path } = place.change.settings;
    await using site = await TestSite.start({
      agent: { environment: [...environment], path },
      apps: {
        good: {
          command: ["sh", "-c", 'id -u >"$0"', "{{outputs.out}}"],
          outputs: { out: { from: "out.txt", to: "$DELIVERED/{{token}}" } },
          runtime: place.runtime,
        },
        long: {
          command: ["sh", "-c", "trap '' TERM; while :; do sleep 0.2; done"],
          runtime: place.runtime,
          grace: "1s",
        },
      },
    });
    await site.startAgent({ env: place.environment });
    const [good, long] = [await site.submit("good"), await site.submit("long")];
    expect(await site.ended(good.id, 90_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
    await site.waitFor(long.id, (job) => job.state === "RUNNING", "RUNNING", 90_000);
    const inside = await waitFor(
      () => {
        const found = listProcesses().filter(({ command }) => /^\/run\/podman-init .*trap '' TERM/.test(command));
        return found.length > 0 ? found : undefined;
      },
      { what: "a container that runs", timeoutMs: 60_000 },
    );
    await site.client.cancel(long.id);
    expect(await site.ended(long.id, 90_000)).toMatchObject({ status: "CANCELLED" });
    expect(inside.filter(({ pid }) => isAlive(pid))).toEqual([]);
    expect(await place.containers()).toEqual([]);
  });
});
