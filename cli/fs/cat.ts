import type { CairnClient } from "../../client/contract.js";
import { CairnError } from "../../common/errors.js";
import { print } from "../output.js";
import { isDirectory, isFile, typeName } from "./format.js";
import { normalize } from "./paths.js";

/** Bytes read at a time. */
const PIECE = 1 << 20;

/** `cairn fs cat`: writes files to standard output, one after the other. */
export async function cat(client: CairnClient, paths: readonly string[]): Promise<void> {
  for (const path of paths.map(normalize)) {
    const inode = await client.meta.resolve(path, true);
    if (!isFile(inode)) {
      throw new CairnError(
        isDirectory(inode) ? "EISDIR" : "EINVAL",
        `cannot read ${path}: it is a ${typeName(inode.mode)}`,
      );
    }
    const content = client.open(inode);
    try {
      for (let offset = 0; ; ) {
        const buffer = Buffer.allocUnsafe(PIECE); // a new one each time: the output may hold on to it
        const count = await content.read(offset, buffer);
        if (count === 0) break;
        await print(buffer.subarray(0, count));
        offset += count;
      }
    } finally {
      await content.close();
    }
  }
}
