import type { CairnClient } from "../../client/contract.js";
import { connectClient } from "../../client/index.js";
import { formatAddress } from "../../common/address.js";
import { silentLogger } from "../../common/log.js";
import { findNamenode, findSecret, type WhereOptions } from "../where.js";
import { Progress } from "./progress.js";

/** Runs fn with a client of the cluster that the flags name, and closes it. */
export async function withClient(options: WhereOptions, fn: (client: CairnClient) => Promise<void>): Promise<void> {
  const namenode = formatAddress(findNamenode(options));
  const secret = findSecret(options);
  const client = await connectClient({
    namenode,
    ...(secret !== undefined && { secret }),
    name: `cairn fs (pid ${process.pid})`,
    log: silentLogger,
  });
  try {
    await fn(client);
  } finally {
    await client.close();
  }
}

/** As withClient, with a progress line that says what `label` has done. */
export async function withProgress(
  options: WhereOptions,
  label: string,
  fn: (client: CairnClient, progress: Progress) => Promise<void>,
): Promise<void> {
  await withClient(options, async (client) => {
    const progress = new Progress(label);
    try {
      await fn(client, progress);
    } finally {
      progress.end();
    }
  });
}
