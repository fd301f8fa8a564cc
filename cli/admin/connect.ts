import type { Address } from "../../common/address.js";
import { wrap } from "../../common/errors.js";
import { silentLogger } from "../../common/log.js";
import { LinkAuth } from "../../proto/auth.js";
import { connect } from "../../proto/connect.js";
import { Dispatcher } from "../../proto/dispatch.js";
import type { Link } from "../../proto/link.js";

/** Runs fn with a link to a namenode, for the calls of Admin and those of Namenode that need no session. */
export async function withNamenode<T>(
  address: Address,
  secret: string | undefined,
  fn: (link: Link) => Promise<T>,
): Promise<T> {
  const link = await connect(address.host, address.port, {
    dispatcher: new Dispatcher(),
    auth: new LinkAuth(secret),
    log: silentLogger,
  }).catch((err: unknown) => {
    throw wrap(err, "cannot reach the namenode (does it run?)");
  });
  try {
    return await fn(link);
  } finally {
    link.close();
  }
}
