/** Answers to requests that never reach a route because they cannot be read; in the same shape as all other errors. */
import type { Socket } from "node:net";
import type { ConnectionError } from "fastify";
import { STATUS_CODES } from "../common/node-http.ts";
import { HttpProblem, problemBody } from "./problem.ts";

const brokenRequests: Readonly<Record<string, readonly [number, string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, "the request did not arrive in time"],
  HPE_HEADER_OVERFLOW: [431, "the headers of the request are too large"],
};

/** Errors of the router and of bodies, which Fastify words in its own way; others come back as they are. */
export function rewordFrameworkError(error: unknown, limits: { bodyBytes: number; parameterLength: number }): unknown {
  const code = typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
  switch (code) {
    case "FST_ERR_BAD_URL":
      return new HttpProblem(400, "the path holds a % that encodes no UTF-8 text");
    case "FST_ERR_MAX_PARAM_LENGTH":
      return new HttpProblem(414, `a part of the path is longer than ${limits.parameterLength} characters`);
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return new HttpProblem(413, `the body is too large; allowed: at most ${limits.bodyBytes} bytes`);
    default:
      return error;
  }
}

/** What is no HTTP at all gets an answer and the end of its connection. */
export function refuseConnection(error: ConnectionError, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, detail] = brokenRequests[error.code] ?? [400, "the request is no HTTP that can be read"];
  const { type, body } = problemBody(new HttpProblem(status, detail), undefined, undefined);
  const text = JSON.stringify(body);
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}`,
    `Content-Type: ${type}`,
    `Content-Length: ${Buffer.byteLength(text)}`,
    "Connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${text}`);
}
