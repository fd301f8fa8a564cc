import { UsageError } from "./errors.js";

/** What is mounted: a folder of a cluster. */
export interface Source {
  /** The address of the namenode; undefined where the source does not say. */
  readonly namenode?: string;
  /** An absolute path; undefined where the source does not say. */
  readonly subdir?: string;
}

/**
 * Reads the source of a mount: a folder of the cluster (`/dir`), a namenode (`host`, `host:port`, `http://host:port`), or both,
 * as mount(8) has it for network file systems (`host:/dir`, `host:port:/dir`, `http://host:port/dir`).
 */
export function parseSource(text: string): Source {
  if (text.startsWith("/")) return { subdir: text };
  const [, namenode, path] =
    /^((?:http|ws):\/\/[^/]+?)(?::?(\/.*))?$/.exec(text) ?? /^([^/]+?)(?::(\/(?!\/).*))?$/.exec(text) ?? [];
  if (namenode === undefined) {
    throw new UsageError(
      `cannot mount "${text}": not a folder (/dir), a namenode (host:port) or both (host:port:/dir)`,
    );
  }
  return { namenode, ...(path !== undefined && { subdir: path }) };
}
