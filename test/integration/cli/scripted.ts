import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

/** An HTTP server on 127.0.0.1 or a Unix socket that answers as a test says, and remembers what it was asked. */
export class ScriptedServer implements AsyncDisposable {
  readonly url: string;
  readonly requests: IncomingMessage[];
  readonly #server: Server;

  private constructor(server: Server, url: string, requests: IncomingMessage[]) {
    this.#server = server;
    this.url = url;
    this.requests = requests;
  }

  static async start(
    answer: (request: IncomingMessage, response: ServerResponse) => void,
    socketPath?: string,
  ): Promise<ScriptedServer> {
    const requests: IncomingMessage[] = [];
    const server = createServer((request, response) => {
      requests.push(request);
      answer(request, response);
    });
    if (socketPath === undefined) server.listen(0, "127.0.0.1");
    else server.listen(socketPath);
    await once(server, "listening");
    const address = server.address();
    const url = typeof address === "object" && address !== null ? `http://127.0.0.1:${address.port}` : "";
    return new ScriptedServer(server, url, requests);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}
