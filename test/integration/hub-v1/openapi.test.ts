import { expect, it } from "vitest";
import { routeSummaries } from "../../../src/hub/v1/route-docs.ts";
import { startTestHub } from "./hub.ts";

interface Operation {
  readonly operationId: string;
  readonly summary?: string;
  readonly security?: readonly object[];
  readonly responses: Record<string, unknown>;
}

it("documents every route of /siteagent/v1/ with a summary, its guard and the shape of errors", async () => {
  await using hub = await startTestHub("sqlite");
  const document = (await (await fetch(`${hub.url}/openapi.json`)).json()) as {
    paths: Record<string, Record<string, Operation>>;
  };
  const found: string[] = [];
  for (const [path, operations] of Object.entries(document.paths)) {
    if (!path.startsWith("/siteagent/v1/")) continue;
    for (const [method, operation] of Object.entries(operations)) {
      const name = `${method.toUpperCase()} ${path.slice("/siteagent/v1".length)}`;
      found.push(name);
      expect([name, operation.summary]).toEqual([name, routeSummaries[name]]);
      expect(operation.security).toEqual([{ bearer: [] }]);
      expect(operation.responses).toHaveProperty("default");
    }
  }
  expect(found.toSorted()).toEqual(Object.keys(routeSummaries).toSorted());
  const ids = Object.values(document.paths).flatMap((operations) =>
    Object.values(operations).map((one) => one.operationId),
  );
  expect(new Set(ids).size).toBe(ids.length);
});
