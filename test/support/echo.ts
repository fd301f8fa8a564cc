import { type Logger, silentLogger } from "../../common/log.js";
import { LinkAuth } from "../../proto/auth.js";
import { type ConnectOptions, connect } from "../../proto/connect.js";
import { Dispatcher } from "../../proto/dispatch.js";
import * as t from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";
import type { Method } from "../../proto/method.js";
import { type LinkServer, type ListenOptions, listen } from "../../proto/server.js";

/** A service for tests of the transport. */
export const Echo = {
  say: { name: "Echo.Say", request: t.GetXattrRequest, reply: t.XattrReply } as Method<
    t.GetXattrRequestInit,
    t.GetXattrRequest,
    t.XattrReplyInit,
    t.XattrReply
  >,
};
/** A push for tests of the transport. */
export const Note = {
  take: { name: "Note.Take", request: t.GetXattrRequest, reply: t.Empty } as Method<
    t.GetXattrRequestInit,
    t.GetXattrRequest,
    t.EmptyInit,
    t.Empty
  >,
};

/** Servers and links of one test, closed together. */
export class Wires {
  readonly servers: LinkServer[] = [];
  readonly links: Link[] = [];
  readonly log: Logger = silentLogger;

  async listen(
    dispatcher: Dispatcher,
    options: Partial<ListenOptions> & { secret?: string } = {},
  ): Promise<LinkServer> {
    const { secret, ...rest } = options;
    const server = await listen({
      host: "127.0.0.1",
      port: 0,
      dispatcher,
      auth: new LinkAuth(secret),
      log: this.log,
      onHttp: (_req, res) => res.end("a page"),
      ...rest,
      secret,
    });
    this.servers.push(server);
    return server;
  }

  async connect(server: LinkServer, options: Partial<ConnectOptions> = {}): Promise<Link> {
    const defaults = { dispatcher: new Dispatcher(), auth: new LinkAuth(), log: this.log };
    const link = await connect("127.0.0.1", server.port, { ...defaults, ...options });
    this.links.push(link);
    return link;
  }

  async close(): Promise<void> {
    for (const link of this.links.splice(0)) link.terminate("the test is over");
    for (const server of this.servers.splice(0)) await server.close();
  }
}
