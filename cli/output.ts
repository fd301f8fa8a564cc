import { once } from "node:events";

/** Writes to standard output and waits, when its reader is slow, until there is room. */
export async function print(data: string | Uint8Array): Promise<void> {
  if (!process.stdout.write(data)) await once(process.stdout, "drain");
}
