// A process of its own that serves a mount of an in-memory cluster, for the tests beside it: a mount must never be touched by
// the process that serves it. Arguments: the mountpoint, then settings as JSON.
import { silentLogger, createLogger } from "../../common/log.js";
import { serve, type ServeSettings } from "../../fuse/daemon.js";
import { MemoryClient } from "../support/memory-client.js";

const [, , mountpoint = "", json = "{}"] = process.argv;
const given = JSON.parse(json) as Partial<ServeSettings> & { log?: boolean };
const settings: ServeSettings = {
  mountpoint,
  allowOther: true,
  nonempty: false,
  cacheMs: 1000,
  readAhead: 1 << 20,
  unmountTimeoutMs: 5000,
  ...given,
};
try {
  await serve(new MemoryClient(), settings, "memory", given.log ? createLogger("mount", "info") : silentLogger);
  process.exit(0);
} catch (err) {
  process.stderr.write(`${(err as Error).message}\n`);
  process.exit(1);
}
