// The thread that writes overlays into LMDB, so that neither the transaction nor its sync stops the namenode. It uses
// LMDB's synchronous transactions: when one throws, nothing of it was written, and the answer says so.
import { parentPort, workerData } from "node:worker_threads";
import { invariant, messageOf } from "../../common/errors.js";
import { decodeBatch } from "./batch.js";
import { encodeNumber, openDatabases, type WriterReply, type WriterRequest } from "./lmdb.js";

invariant(parentPort !== null && typeof workerData === "string", "lmdb-writer runs as a thread of lmdb.ts");
const port = parentPort;
const { root, data, meta } = openDatabases(workerData);

/** What has come of the transaction that is being sent. */
let batches: Uint8Array[] = [];

/** Writes the batches and the index in one transaction. */
function commit(index: number): WriterReply {
  const entries = batches;
  batches = [];
  try {
    root.transactionSync(() => {
      for (const { buffer, byteOffset, byteLength } of entries) {
        for (const [key, value] of decodeBatch(Buffer.from(buffer, byteOffset, byteLength))) {
          if (value === null) data.removeSync(key);
          else data.putSync(key, value);
        }
      }
      meta.putSync("index", encodeNumber(index));
    });
    return {};
  } catch (err) {
    return { error: { message: messageOf(err), code: (err as { code?: unknown } | null)?.code } };
  }
}

port.on("message", (request: WriterRequest) => {
  if (request === "close") void root.close().then(() => port.close());
  else if ("batch" in request) batches.push(request.batch);
  else port.postMessage(commit(request.commit) satisfies WriterReply);
});
