import { createServer } from "node:net";
import { CairnError } from "../../common/errors.js";

/**
 * Where free ports are looked for: above the well-known services, below the range from which Linux takes the local ports of
 * outgoing connections, so that a port is still free when its daemon is started again.
 */
const FIRST = 12_000;
const LAST = 32_000;
/** Ports tried before giving up. */
const TRIES = 200;

/** Whether nothing listens on a port of the loopback address (and this user may). */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1" }, () => server.close(() => resolve(true)));
  });
}

/** A free port that is not in `taken`. EADDRINUSE when there is none to be found. */
export async function freePort(taken: readonly number[]): Promise<number> {
  for (let i = 0; i < TRIES; i++) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
    if (!taken.includes(port) && (await isFree(port))) return port;
  }
  throw new CairnError("EADDRINUSE", `no free port found between ${FIRST} and ${LAST}`);
}
