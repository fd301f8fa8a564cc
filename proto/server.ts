import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { WebSocketServer } from "ws";
import { type Clock, RealClock } from "../common/clock.js";
import { CairnError } from "../common/errors.js";
import { CONNECT_TIMEOUT_MS, MAX_MESSAGE } from "../common/limits.js";
import type { Logger } from "../common/log.js";
import type { LinkAuth } from "./auth.js";
import { LINK_PATH } from "./connect.js";
import type { Dispatcher } from "./dispatch.js";
import { receiveInPlace } from "./in-place.js";
import { Link } from "./link.js";
import { MessageBuffers } from "./message-buffers.js";

/** Connections one daemon accepts at most. */
const MAX_CONNECTIONS = 20_000;

export interface ListenOptions {
  host: string;
  /** 0: a free one */
  port: number;
  dispatcher: Dispatcher;
  auth: LinkAuth;
  log: Logger;
  clock?: Clock;
  /** Answers every HTTP request that is no upgrade. */
  onHttp: (req: IncomingMessage, res: ServerResponse) => void;
  /** Told of every link that was opened. */
  onLink?: (link: Link) => void;
  pingMs?: number;
  idleMs?: number;
}

/** A listening daemon: one HTTP port for pages, metrics and the links of RPC and block streams. */
export interface LinkServer {
  readonly host: string;
  readonly port: number;
  /** Links that are open now. */
  readonly links: ReadonlySet<Link>;
  /** Stops accepting, closes every link and connection. */
  close(reason?: string): Promise<void>;
}

/** Starts to listen: listen(), or what a simulated network has in its place. */
export type Listen = (options: ListenOptions & { secret: string | undefined }) => Promise<LinkServer>;

/** Whether only this machine can reach an address. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host) || /^::ffff:127\./.test(host);
}

/** Starts to listen. EADDRINUSE and EACCES name the port; EINVAL when it is not loopback and there is no secret. */
export async function listen(options: ListenOptions & { secret: string | undefined }): Promise<LinkServer> {
  const { host, port, dispatcher, auth, log } = options;
  const clock = options.clock ?? new RealClock();
  if (!isLoopback(host) && options.secret === undefined) {
    throw new CairnError(
      "EINVAL",
      `listening on ${host} is open to other machines and needs a cluster secret (--secret-file)`,
    );
  }
  const links = new Set<Link>();
  const buffers = new MessageBuffers();
  const http = createServer({ headersTimeout: 10_000, requestTimeout: 60_000, maxHeaderSize: 16_384 }, options.onHttp);
  http.maxConnections = MAX_CONNECTIONS;
  const wss = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: MAX_MESSAGE,
    skipUTF8Validation: true,
    clientTracking: false,
  });
  http.on("upgrade", (req: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on("error", (err) => log.debug({ err: err.message }, "a connection broke during its handshake"));
    if (req.url !== LINK_PATH) return refuse(socket, 404, "no such path");
    const refusal = auth.refusal(req.headers.authorization);
    if (refusal !== undefined) {
      log.warn({ peer: socket.remoteAddress, refusal }, "refused a link");
      return refuse(socket, 401, refusal);
    }
    wss.handleUpgrade(req, socket, head, (ws) => {
      receiveInPlace(socket, buffers);
      const peer = `${socket.remoteAddress}:${socket.remotePort}`;
      const link = new Link(ws, {
        peer,
        dispatcher,
        log,
        clock,
        buffers,
        ...(options.pingMs !== undefined && { pingMs: options.pingMs }),
        ...(options.idleMs !== undefined && { idleMs: options.idleMs }),
      });
      links.add(link);
      void link.closed.then(() => links.delete(link));
      options.onLink?.(link);
    });
  });
  http.on("clientError", (err, socket) => {
    log.debug({ err: err.message }, "a connection sent something that is not HTTP");
    if (socket.writable) socket.end("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
    else socket.destroy();
  });
  await new Promise<void>((resolve, reject) => {
    http.once("error", (err: NodeJS.ErrnoException) =>
      reject(new CairnError(err.code ?? "EIO", `cannot listen on ${host} port ${port}`, err)),
    );
    http.listen(port, host, resolve);
  });
  http.on("error", (err) => log.error({ err }, "server error"));
  return {
    host,
    port: (http.address() as AddressInfo).port,
    links,
    close: (reason) => closeServer(http, wss, links, reason ?? "shutting down", clock),
  };
}

function refuse(socket: Socket, status: number, reason: string): void {
  socket.end(
    `HTTP/1.1 ${status} Refused\r\nx-cairn-reason: ${reason}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`,
  );
}

async function closeServer(
  http: Server,
  wss: WebSocketServer,
  links: Set<Link>,
  reason: string,
  clock: Clock,
): Promise<void> {
  const closed = new Promise<void>((resolve) => http.close(() => resolve()));
  wss.close();
  const open = [...links]; // a link leaves the set as soon as it is closing
  for (const link of open) link.close(reason);
  http.closeIdleConnections();
  // A peer that does not answer the close handshake is dropped.
  const timer = clock.after(CONNECT_TIMEOUT_MS / 10, () => {
    for (const link of open) link.terminate(reason);
    http.closeAllConnections();
  });
  await closed;
  timer.clear();
}
