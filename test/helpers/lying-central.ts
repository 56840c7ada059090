/** A server between an agent and a central API that passes calls on, or lies as its program says. */
import { pick } from "./random.ts";
import {
  type Answer,
  cutAfter,
  drip,
  endless,
  json,
  raw,
  type Received,
  reset,
  ScriptedServer,
  silent,
} from "./scripted-server.ts";

/** An answer of the true API. */
export interface Truth {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

interface Exchange {
  readonly request: Received;
  /** Carries the call out. */
  readonly pass: () => Promise<Truth>;
  /** Earlier answers to calls of this route, oldest first. */
  readonly earlier: readonly Truth[];
  readonly random: () => number;
}

/** What is answered instead; may carry the call out, also twice. */
export type Lie = (exchange: Exchange) => Promise<Answer>;

const told = ({ status, contentType, body }: Truth): Answer => raw(status, contentType, body);
const always =
  (answer: Answer): Lie =>
  async () =>
    answer;

/** The JSON of the truth, changed; the truth itself when it is no JSON object. */
function altered(change: (body: Record<string, unknown>) => Record<string, unknown>): Lie {
  return async ({ pass }) => {
    const truth = await pass();
    const body = parsed(truth.body);
    return body === undefined ? told(truth) : json(truth.status, change(body));
  };
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

const laterMs = 300;

/** Lies that no agent may be harmed by: nothing in them is central's own word about a job that it holds. */
export const harmlessLies: Readonly<Record<string, Lie>> = {
  "a login page": always(raw(200, "text/html", "<html>log in</html>")),
  "a 404 page": always(raw(404, "text/html", "<h1>not here</h1>")),
  "an empty body": always(raw(200, "application/json", "")),
  "a reset": always(reset),
  silence: always(silent),
  "one byte at a time": always(drip),
  "an answer without end": always(endless),
  "a redirect": always(raw(307, "application/json", "{}", { location: "http://127.0.0.1:1/" })),
  "429": always(raw(429, "application/json", "{}", { "retry-after": "2" })),
  "429 without end": always(raw(429, "application/json", "{}", { "retry-after": "-1" })),
  "401": always(json(401, { detail: "Could not validate credentials" })),
  "503": always(raw(503, "text/html", "<h1>busy</h1>")),
  "deep JSON": always(raw(200, "application/json", `{"assign":${"[".repeat(20_000)}${"]".repeat(20_000)}}`)),
  late: async ({ pass }) => {
    await new Promise((resolve) => setTimeout(resolve, laterMs));
    return told(await pass());
  },
  lost: async ({ pass }) => {
    await pass();
    return reset;
  },
  "cut in its middle": async ({ pass, random }) => {
    const { body } = await pass();
    return cutAfter(parsed(body) ?? {}, Math.floor(random() * body.length));
  },
  "carried out twice": async ({ pass }) => {
    await pass();
    return told(await pass());
  },
  "doubled keys": async ({ pass }) => {
    const { status, contentType, body } = await pass();
    return raw(status, contentType, body.replace("{", '{"results":[],"results":[],'));
  },
  "a prototype": async ({ pass }) => {
    const { status, contentType, body } = await pass();
    return raw(status, contentType, body.replace("{", '{"__proto__":{"assign":[]},'));
  },
  "fields of the future": altered((body) => ({ ...body, field_of_the_future: [{ deep: {} }] })),
  "an order of the future": altered((body) =>
    Array.isArray(body["orders"])
      ? { ...body, orders: [...(body["orders"] as unknown[]), orderAbout("teleport")] }
      : body,
  ),
  "an order about a job of nobody": altered((body) =>
    Array.isArray(body["orders"])
      ? { ...body, orders: [...(body["orders"] as unknown[]), orderAbout("cancel")] }
      : body,
  ),
  "a job of another site": altered((body) =>
    Array.isArray(body["assign"]) ? { ...body, assign: [...(body["assign"] as unknown[]), theirs] } : body,
  ),
  "an older epoch": altered((body) => {
    const assign = body["assign"];
    if (!Array.isArray(assign)) return body;
    const again = (assign as { epoch: number }[]).map((one) => ({ ...one, epoch: Math.max(1, one.epoch - 1) }));
    return { ...body, assign: [...again, ...(assign as unknown[])] };
  }),
  "outcomes of the future": altered((body) =>
    Array.isArray(body["results"])
      ? { ...body, results: (body["results"] as object[]).map((one) => ({ ...one, outcome: "postponed" })) }
      : body,
  ),
  "about something else": altered((body) => ({ ...body, results: [], id: "another", job: "another" })),
};

function orderAbout(kind: string): object {
  return { id: `order-${kind}`, kind, job: "of-nobody", reason: "", actor: "nobody", at: "2026-03-01T10:00:00Z" };
}

const theirs = {
  job: "of-another-site",
  op_id: "theirs",
  epoch: 7,
  lease_ms: 90_000,
  spec: { workflow: "w", config: {} },
};

export class LyingCentral implements AsyncDisposable {
  readonly server: ScriptedServer;
  /** How often each lie was told. */
  readonly told = new Map<string, number>();
  /** Share of calls that are lied to, [0, 1]. */
  share = 0;
  readonly #earlier = new Map<string, Truth[]>();

  private constructor(server: ScriptedServer) {
    this.server = server;
  }

  /** In front of `target`, with these lies. Logins are answered by `token`, which is asked each time; they are lied to as well. */
  static async start(options: {
    readonly target: string;
    readonly token: () => Promise<string>;
    readonly lies: Readonly<Record<string, Lie>>;
    readonly random: () => number;
  }): Promise<LyingCentral> {
    const lying = new LyingCentral(await ScriptedServer.start());
    const { target, token, lies, random } = options;
    const answer: Answer = async (request, response) => {
      const route = `${request.method} ${request.path.replace(/[^/]*:(\w+)$/, ":$1")}`;
      const earlier = lying.#earlier.get(route) ?? [];
      lying.#earlier.set(route, earlier);
      const pass = async (): Promise<Truth> => {
        const truth = await passOn(target, request, token);
        earlier.push(truth);
        if (earlier.length > 20) earlier.shift();
        return truth;
      };
      const name = random() < lying.share ? pick(Object.keys(lies), random) : undefined;
      const lie = name === undefined ? undefined : lies[name];
      if (name !== undefined) lying.told.set(name, (lying.told.get(name) ?? 0) + 1);
      try {
        const given = lie ? await lie({ request, pass, earlier, random }) : told(await pass());
        await given(request, response);
      } catch {
        response.socket?.destroy();
      }
    };
    for (const method of ["GET", "POST", "PUT", "PATCH"]) lying.server.on(`${method} /*`, answer);
    return lying;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}

async function passOn(target: string, request: Received, token: () => Promise<string>): Promise<Truth> {
  if (request.path === "/token") {
    const body = { access_token: await token(), token_type: "bearer", expires: { days: 0, hours: 1, minutes: 0 } };
    return { status: 200, contentType: "application/json", body: JSON.stringify(body) };
  }
  const { host: _, connection: _c, "content-length": _l, ...headers } = request.headers;
  const answer = await fetch(`${target}${request.path}?${request.query.toString()}`, {
    method: request.method,
    headers: headers as Record<string, string>,
    ...(request.method === "GET" ? {} : { body: request.body }),
  });
  return {
    status: answer.status,
    contentType: answer.headers.get("content-type") ?? "",
    body: await answer.text(),
  };
}
