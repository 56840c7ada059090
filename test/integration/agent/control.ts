import { request } from "node:http";
import { join } from "node:path";
import type { LocalJob, LocalJobDetail, StatusView } from "../../../src/wire/control-api.ts";
import type { TestSite } from "../../helpers/site.ts";
import { waitFor } from "../../helpers/wait.ts";

export interface ControlAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** One call of an agent's control socket. */
export function control(runtimeDirectory: string, method: string, path: string, body?: object): Promise<ControlAnswer> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: join(runtimeDirectory, "agent.sock"), method, path }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as unknown });
      });
    });
    call.on("error", reject);
    call.end(body === undefined ? "" : JSON.stringify(body));
  });
}

/** The agent of a test's site by its socket. */
export class Control {
  readonly #runtimeDirectory: string;

  constructor(site: Pick<TestSite, "root">, name = "run") {
    this.#runtimeDirectory = join(site.root, name);
  }

  async get(path: string): Promise<ControlAnswer> {
    return control(this.#runtimeDirectory, "GET", path);
  }

  async post(path: string, body: object = {}): Promise<ControlAnswer> {
    return control(this.#runtimeDirectory, "POST", path, body);
  }

  async status(): Promise<StatusView> {
    return (await this.get("/v1/status")).body as StatusView;
  }

  async job(id: string): Promise<LocalJobDetail> {
    return (await this.get(`/v1/jobs/${encodeURIComponent(id)}`)).body as LocalJobDetail;
  }

  /** Waits for a status that fits; an agent that does not answer (yet) counts as none. */
  async until(what: string, fits: (status: StatusView) => boolean, timeoutMs = 30_000): Promise<StatusView> {
    let last: StatusView | undefined;
    await waitFor(
      async () => {
        last = await this.status();
        return fits(last);
      },
      {
        what: () => `${what}; status: ${JSON.stringify({ ...last, log: last?.log.slice(-5) }).slice(0, 4000)}`,
        timeoutMs,
      },
    );
    return last as StatusView;
  }

  async untilJob(what: string, id: string, fits: (job: LocalJob) => boolean, timeoutMs?: number): Promise<LocalJob> {
    const status = await this.until(what, ({ jobs }) => jobs.some((job) => job.id === id && fits(job)), timeoutMs);
    return status.jobs.find((job) => job.id === id) as LocalJob;
  }
}
