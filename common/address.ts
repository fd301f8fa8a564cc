import { NAMENODE_PORT } from "./limits.js";

/** Where a daemon listens. */
export interface Address {
  /** Name or address; an IPv6 address without brackets. */
  readonly host: string;
  readonly port: number;
}

/**
 * Reads "http://host:port", "ws://host:port", "host:port", or "host" alone, which means a namenode's default port. IPv6
 * addresses are in brackets. Undefined when it is none of these.
 */
export function parseAddress(text: string): Address | undefined {
  const [, host, port] = /^(?:(?:http|ws):\/\/)?(\[[0-9a-f:.]+\]|[\w.-]+)(?::(\d{1,5}))?\/?$/i.exec(text) ?? [];
  const number = Number(port ?? NAMENODE_PORT);
  if (host === undefined || number < 1 || number > 65_535) return undefined;
  return { host: host.replace(/^\[|\]$/g, ""), port: number };
}

/** "host:port", an IPv6 host in brackets. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
