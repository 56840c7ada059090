import { type IncomingHttpHeaders, request } from "node:http";
import { join } from "node:path";
import type { LocalJob, LocalJobDetail, StatusView } from "../../../src/wire/control-api.ts";
import type { TestSite } from "../../helpers/site.ts";
import { waitFor } from "../../helpers/wait.ts";

export interface ControlAnswer {
  readonly status: number;
  readonly body: unknown;
}

export interface RawControlAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** One call of an agent's control socket, byte by byte as given. */
export function rawControl(
  runtimeDirectory: string,
  method: string,
  path: string,
  body: string,
): Promise<RawControlAnswer> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: join(runtimeDirectory, "agent.sock"), method, path }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
    });
    call.on("error", reject);
    call.end(body);
  });
}

/** One call with JSON both ways. */
export async function control(
  runtimeDirectory: string,
  method: string,
  path: string,
  body?: object,
): Promise<ControlAnswer> {
  const sent = body === undefined ? "" : JSON.stringify(body);
  const { status, text } = await rawControl(runtimeDirectory, method, path, sent);
  return { status, body: JSON.parse(text) as unknown };
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
