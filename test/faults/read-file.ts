import { open } from "node:fs/promises";

/** Bytes asked for at once. */
const PIECE = 1 << 20;

/**
 * Reads a file to its end. Unlike readFile(), which takes a short read for the end: one may also mean that an error comes next,
 * because the mount has died in the middle.
 */
export async function readWhole(path: string): Promise<Buffer> {
  const file = await open(path, "r");
  try {
    const pieces: Buffer[] = [];
    for (;;) {
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(PIECE), 0, PIECE, null);
      if (bytesRead === 0) return Buffer.concat(pieces);
      pieces.push(buffer.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}
