import { limitTexts } from "../format/limits.ts";
import { isFault } from "../../common/fault.ts";
import { type HubClient, type HubEvent, type JobView, createHubClient } from "../../sdk/client.ts";
import { HubHttp } from "../../sdk/http.ts";
import { api } from "../../sdk/paths.ts";
import { endSchema } from "../../wire/common.ts";
import { eventListSchema, type SiteView } from "../../wire/user-api.ts";
import type { CliContext } from "../context.ts";
import type {
  Milestone,
  JobBackend,
  JobFilter,
  JobList,
  JobRow,
  JobStory,
  LogChunk,
  LogRequest,
  ServingSite,
  Surroundings,
  WaitRequest,
} from "./types.ts";

/** How many events of one job are read for its story. */
const maxStoryEvents = 2_000;

/** The hub as a source of jobs. The client ends with the backend. */
export class HubBackend implements JobBackend {
  readonly kind = "hub";
  readonly client: HubClient;
  /** For the one question that the client has no method for: the past events of one job. */
  readonly #http: HubHttp;
  readonly #signal: AbortSignal;

  constructor(options: { readonly url: string; readonly token: string | undefined }, context: CliContext) {
    this.client = createHubClient({ url: options.url, token: options.token });
    const { token } = options;
    this.#http = new HubHttp({
      url: options.url,
      credentials: token === undefined ? { kind: "none" } : { kind: "token", token },
    });
    this.#signal = context.signal;
  }

  get address(): string {
    return this.client.url;
  }

  async me(): Promise<{ readonly name: string; readonly onlyMine: boolean }> {
    const me = await this.client.me({ signal: this.#signal });
    return { name: me.name, onlyMine: me.role === "submitter" };
  }

  async list(filter: JobFilter): Promise<JobList> {
    const { status, tags, active, ...rest } = filter;
    const query = {
      ...rest,
      ...(active ? { active } : {}),
      status: status as JobView["status"][],
      tag: [...tags],
    };
    const page = await this.client.jobPage(query, { signal: this.#signal });
    return { rows: page.jobs.map(rowOf), total: page.total, capped: page.total_capped };
  }

  async job(id: string): Promise<JobRow> {
    return rowOf(await this.client.job(id, { signal: this.#signal }));
  }

  async story(id: string): Promise<JobStory> {
    const view = await this.client.job(id, { signal: this.#signal });
    const [events, outputs, limits] = await Promise.all([this.#eventsOf(id), this.outputs(id), this.#limitsOf(view)]);
    return {
      row: rowOf(view),
      timeline: events.map(milestoneOf),
      attempts: attemptsOf(events),
      inputs: [],
      outputs: outputs.map((file) => ({
        item: file.output,
        path: file.path,
        bytes: file.bytes,
        sha256: file.sha256,
        where: file.stored ? "hub" : (file.url ?? "site"),
      })),
      asked: { config: view.config, parameters: view.parameters, ...(limits === undefined ? {} : { limits }) },
      raw: { ...view, events, outputs },
    };
  }

  /** As the job's site tells of its app now; undefined before a site has the job, or when it tells nothing. */
  async #limitsOf(view: JobView): Promise<Record<string, string> | undefined> {
    if (view.site === null) return undefined;
    const sites = await this.client.sites({ signal: this.#signal });
    const app = sites.find((site) => site.id === view.site)?.apps.find((one) => one.workflow === view.workflow.id);
    return app?.limits === undefined ? undefined : limitTexts(app.limits);
  }

  async wait(ids: readonly string[], request: WaitRequest): Promise<readonly JobRow[]> {
    const { onChange } = request;
    const views = await this.client.wait(ids, {
      signal: this.#signal,
      timeoutMs: request.timeoutMs,
      ...(onChange ? { onChange: (view: JobView) => onChange(rowOf(view)) } : {}),
    });
    return views.map(rowOf);
  }

  logs(id: string, request: LogRequest): AsyncIterable<LogChunk> {
    return this.client.logs(id, { ...request, signal: this.#signal });
  }

  async outputs(id: string): ReturnType<JobBackend["outputs"]> {
    return await this.client.outputs.list(id, { signal: this.#signal });
  }

  async readOutput(id: string, file: { readonly path: string }): Promise<Uint8Array> {
    return await this.client.outputs.read(id, file.path, { signal: this.#signal });
  }

  async saveOutput(id: string, file: { readonly path: string }, destination: string): Promise<void> {
    await this.client.outputs.save(id, file.path, destination, { signal: this.#signal });
  }

  async cancel(ids: readonly string[], reason: string, force = false): ReturnType<JobBackend["cancel"]> {
    return await this.client.bulkAction("cancel", ids, reason, { signal: this.#signal, force });
  }

  async retry(ids: readonly string[], reason: string): ReturnType<JobBackend["retry"]> {
    return await this.client.bulkAction("retry", ids, reason, { signal: this.#signal });
  }

  async surroundings(row: JobRow): Promise<Surroundings> {
    const parents = await Promise.all(
      row.parents.slice(0, 50).map(async (id) => {
        const parent = await this.client.job(id, { signal: this.#signal });
        return { id, status: parent.status };
      }),
    );
    return { parents, ...(await this.#sitesFor(row)) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]();
    await this.#http[Symbol.asyncDispose]();
  }

  /** Who may not see the sites page still gets an explanation. */
  async #sitesFor(row: JobRow): Promise<Pick<Surroundings, "sites" | "otherWorkflows">> {
    try {
      const sites = await this.client.sites({ signal: this.#signal });
      const serves = (site: SiteView): boolean => site.workflows.includes(row.workflow) || site.id === row.place;
      const others = sites.filter((site) => !serves(site)).flatMap((site) => site.workflows);
      return {
        sites: sites.filter(serves).map((site) => servingSite(site, row.workflow)),
        otherWorkflows: [...new Set(others)].toSorted(),
      };
    } catch (error) {
      if (isFault(error, "FORBIDDEN")) return { sites: undefined, otherWorkflows: [] };
      throw error;
    }
  }

  async #eventsOf(id: string): Promise<readonly HubEvent[]> {
    const query = { job: id, after: 0, limit: maxStoryEvents };
    const call = { query, signal: this.#signal };
    return (await this.#http.json(`${api}/events`, eventListSchema, call)).events;
  }
}

function servingSite(site: SiteView, workflow: string): ServingSite {
  const refusal = site.health["not_accepting"];
  return {
    id: site.id,
    state: site.state ?? "unknown",
    lostContact: site.lost_contact,
    held: site.held,
    lastSync: site.last_sync_at,
    notAccepting: typeof refusal === "string" ? refusal : undefined,
    free: site.free.find((one) => one.workflow === workflow)?.slots ?? 0,
    slots: site.apps.find((app) => app.workflow === workflow)?.slots,
  };
}

export function rowOf(view: JobView): JobRow {
  return {
    id: view.id,
    name: view.name ?? "",
    workflow: view.workflow.id,
    status: view.status,
    state: view.state,
    phase: view.phase,
    hold: view.hold,
    place: view.site ?? "",
    owner: view.owner ?? "",
    tags: view.tags,
    attempt: view.attempt,
    failure: view.failure,
    end: view.end,
    createdAt: view.created_at,
    updatedAt: view.updated_at,
    claimedAt: view.claimed_at,
    endedAt: view.ended_at,
    waiting: null,
    lostContact: view.lost_contact,
    progress: view.progress,
    parents: view.parents,
    retryOf: view.retry_of,
    raw: view,
  };
}

/** The attempts that have ended, by what the site reported of them; the hub knows no directories. */
function attemptsOf(events: readonly HubEvent[]): JobStory["attempts"] {
  const ends = new Map<number, JobStory["attempts"][number]>();
  for (const { data } of events) {
    const attempt = data["attempt"];
    const end = endSchema.safeParse(data["end"]);
    if (typeof attempt === "number" && end.success) ends.set(attempt, { attempt, directory: "", end: end.data });
  }
  return [...ends.values()].toSorted((a, b) => a.attempt - b.attempt);
}

function milestoneOf(event: HubEvent): Milestone {
  const text = (name: string): string => {
    const value = event.data[name];
    return typeof value === "string" ? value : "";
  };
  const attempt = event.data["attempt"];
  const hold = event.data["hold"];
  const reason = typeof hold === "object" && hold !== null && "reason" in hold ? hold["reason"] : "";
  return {
    at: event.at,
    what: event.type === "job.state" || event.type === "job.created" ? text("state") : event.type.replace(/^job\./, ""),
    attempt: typeof attempt === "number" ? attempt : 0,
    status: text("status"),
    message: text("message") || (typeof reason === "string" ? reason : "") || text("reason"),
  };
}
