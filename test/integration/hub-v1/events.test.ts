import { expect, it } from "vitest";
import type { HubEvent } from "../../../src/wire/user-api.ts";
import { waitFor } from "../../helpers/wait.ts";
import { onBothStores, startTestHub } from "./hub.ts";
import { testSite } from "./site.ts";

onBothStores("events", (kind) => {
  it("tells a job's whole story in order, as pages and as a stream", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("viewer");
    const submitter = await hub.client("submitter");
    const stop = new AbortController();
    const seen: HubEvent[] = [];
    const other = await submitter.submit({ workflow: "other" });
    const { id } = await submitter.submit({ workflow: "w" });
    const streaming = (async () => {
      for await (const event of client.events({ after: 0, job: id, signal: stop.signal })) seen.push(event);
    })();
    await waitFor(() => seen.length === 1, { what: "the first event" });
    await site.finish(await site.take("w"));
    await waitFor(() => seen.at(-1)?.data["status"] === "FINISHED", { what: "the last event" });
    stop.abort();
    await streaming;
    expect(seen.map((event) => [event.type, event.data["state"], event.data["phase"] ?? null])).toEqual([
      ["job.created", "READY", null],
      ["job.state", "READY", "claimed"],
      ["job.state", "RUNNING", "started"],
      ["job.outputs", undefined, null],
      ["job.state", "JOB_FINISHED", "none"],
    ]);
    expect(seen.map((event) => event.actor)).toEqual([
      "user:submitter",
      ...Array.from({ length: 4 }, () => "client:c-lab-a"),
    ]);
    const page = await (
      await fetch(`${hub.url}/siteagent/v1/events?limit=1&job=${other.id}`, {
        headers: { authorization: `Bearer ${await hub.userToken("viewer")}` },
      })
    ).json();
    expect(page).toMatchObject({ events: [{ job: other.id }], last_seq: seen.at(-1)?.seq });
  });

  it("continues a broken stream after the last number: nothing missing, nothing twice", async () => {
    await using hub = await startTestHub(kind);
    const submitter = await hub.client("submitter");
    const client = await hub.client("viewer");
    const stop = new AbortController();
    const seen: string[] = [];
    const streaming = (async () => {
      for await (const event of client.events({ after: 0, signal: stop.signal, pollMs: 50 }))
        seen.push(event.job ?? "");
    })();
    const made: string[] = [];
    for (let round = 0; round < 5; round++) {
      made.push((await submitter.submit({ workflow: "w" })).id);
      await waitFor(() => seen.length >= round, { what: "an event" });
      hub.app.server.closeAllConnections();
      made.push((await submitter.submit({ workflow: "w" })).id);
    }
    await waitFor(() => seen.length >= made.length, { what: "all events" });
    stop.abort();
    await streaming;
    expect(seen).toEqual(made);
  });

  it("numbers events of writers at the same time so that no reader misses one", async () => {
    await using hub = await startTestHub(kind);
    const submitter = await hub.client("submitter");
    const client = await hub.client("viewer");
    const stop = new AbortController();
    const seen: string[] = [];
    const streaming = (async () => {
      for await (const event of client.events({ after: 0, signal: stop.signal })) seen.push(event.job ?? "");
    })();
    const made = await Promise.all(Array.from({ length: 60 }, () => submitter.submit({ workflow: "w" })));
    await waitFor(() => seen.length >= made.length, { what: () => `all events, saw ${seen.length}` });
    stop.abort();
    await streaming;
    expect(new Set(seen)).toEqual(new Set(made.map((job) => job.id)));
    expect(seen).toHaveLength(60);
  });

  it("ends streams when the hub closes", async () => {
    await using hub = await startTestHub(kind);
    const token = await hub.userToken("viewer");
    const response = await fetch(`${hub.url}/siteagent/v1/events`, {
      headers: { authorization: `Bearer ${token}`, accept: "text/event-stream" },
    });
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    const body = response.text().catch(() => "cut");
    await hub.app.close();
    expect(await body).toContain("retry:");
  });
});
