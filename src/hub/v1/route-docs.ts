/** What the OpenAPI document says of each route, in one table; a test holds it against the routes. */
import type { RouteOptions } from "fastify";
import { problemSchema } from "../../wire/user-api.ts";
import { documentPath } from "../documents.ts";

/** By method and path without the prefix. */
export const routeSummaries: Readonly<Record<string, string>> = {
  "POST /synchronize":
    "A site says what it holds and could start; the answer assigns, orders and fences. Long-poll by `hold_ms`.",
  "POST /reports": "State changes of held jobs, in order; one result per report. Repeating is harmless.",
  "PUT /progress": "What of a site's jobs moves now, all of it; shown to who looks at a job, forgotten after 30 s.",
  "POST /jobs/{id}:claim":
    "Claims one job exclusively. With an Idempotency-Key header the same call gives the same claim.",
  "POST /jobs/{id}:renew": "Extends the lease of a claim that is not confirmed by a report yet.",
  "POST /jobs/{id}:release": "Hands a job back that does not run; it becomes READY for others.",
  "GET /jobs": "Jobs by filter, tags and words, page by page, with their number.",
  "POST /jobs": "Makes a job. Header Idempotency-Key: 201 made now, 200 made before by the same request.",
  "GET /jobs/{id}": "One job.",
  "POST /jobs:bulk": "Makes many jobs; one result per item, in order.",
  "POST /jobs/{id}:cancel": "Ends a job: at once when nobody holds it, else by an order to its site.",
  "POST /jobs/{id}:retry": "Makes a new job like an ended one (`retry_of`).",
  "POST /jobs/{id}:pause": "Holds a job back: at once when nobody holds it, else by an order to its site.",
  "POST /jobs/{id}:resume": "Ends a pause.",
  "POST /jobs:cancel": "Cancels many jobs; one result per id.",
  "POST /jobs:retry": "Retries many jobs; one result per id.",
  "POST /jobs:pause": "Pauses many jobs; one result per id.",
  "POST /jobs:resume": "Resumes many jobs; one result per id.",
  "GET /events":
    "What happened, by growing number. With `Accept: text/event-stream` pushed, continued after `Last-Event-ID`.",
  "PUT /jobs/{id}/logs/{stream}": "Appends log bytes from an offset; 416 tells where the log ends.",
  "GET /jobs/{id}/logs/{stream}": "Log bytes from an offset; headers tell size, attempt and whether more will come.",
  "PUT /jobs/{id}/outputs/{path}": "Stores one small output file, verified by its digest.",
  "GET /jobs/{id}/outputs/{path}": "The bytes of a stored output, whole or one range.",
  "GET /jobs/{id}/outputs": "The manifest of what a job delivered.",
  "GET /files": "Input files kept by the hub.",
  "PUT /files/{name}": "Stores an input file; a name never changes its content.",
  "GET /files/{name}": "The bytes of an input file, whole or one range.",
  "DELETE /files/{name}": "Removes an input file.",
  "GET /sites": "Sites: when they spoke last, what they hold and offer.",
  "GET /workflows": "All workflows.",
  "GET /workflows/{id}": "One workflow.",
  "PUT /workflows/{id}": "Makes or changes a workflow; its claim policy counts for jobs made from then on.",
  "DELETE /workflows/{id}": "Removes a workflow.",
  "GET /object_types": "All object types.",
  "GET /object_types/{id}": "One object type.",
  "PUT /object_types/{id}": "Makes or changes an object type.",
  "DELETE /object_types/{id}": "Removes an object type.",
  "GET /triggers": "All triggers.",
  "GET /triggers/{id}": "One trigger.",
  "PUT /triggers/{id}": "Makes or changes a trigger; objects that have the type already get their jobs at once.",
  "DELETE /triggers/{id}": "Removes a trigger; jobs it made stay.",
  "GET /me": "Who the token stands for.",
  "GET /tokens": "Own API tokens (administrators: all), without their secrets.",
  "POST /tokens": "Makes an API token; its secret is shown this once.",
  "DELETE /tokens/{id}": "Ends an API token.",
  "GET /users": "Users and their roles.",
  "PUT /users/{name}": "Makes or changes a user.",
};

/** Adds to a route what the document says of all: summary, guard, errors, bytes. */
export function describeRoute(route: RouteOptions, prefix: string): void {
  const summary = routeSummaries[`${String(route.method)} ${documentPath(route.url.slice(prefix.length))}`];
  const schema = route.schema ?? {};
  const raw = route.config?.body === "raw" ? { consumes: ["application/octet-stream"] } : {};
  const bytes = "response" in schema ? {} : route.method === "GET" ? { produces: ["application/octet-stream"] } : {};
  const response = { ...(schema.response as object | undefined), default: problemSchema };
  route.schema = {
    ...schema,
    ...raw,
    ...bytes,
    ...(summary === undefined ? {} : { summary }),
    security: [{ bearer: [] }],
    response,
  };
}
