import { connect, type Dial } from "./connect.js";
import { type Listen, listen } from "./server.js";

/** How programs reach one another: the machine's network, or a simulated one. */
export interface Network {
  readonly dial: Dial;
  readonly listen: Listen;
}

/** WebSockets over TCP. */
export const webSockets: Network = { dial: connect, listen };
