import type { ReleaseRequest } from "../../../proto/gen/types.js";
import type { KeyValue } from "../../store/kv.js";
import { id } from "../checks.js";
import { heldBy as allHeldBy, heldKey, inoOfHeld } from "../keys.js";
import type { Context } from "./context.js";

/** The inode if a session holds it without a name, else 0. */
export function heldBy(kv: KeyValue, session: number, ino: number): number {
  return session !== 0 && ino !== 0 && kv.get(heldKey(session, ino)) !== undefined ? ino : 0;
}

/**
 * A session is open again, and has these inodes open: all else that it held is given up. @returns what it goes on to hold, which it
 * may not have heard of.
 */
export function resume({ kv, editor }: Context, session: number, open: readonly number[]): number[] {
  const isOpen = new Set(open);
  const held = Array.from(kv.range(allHeldBy(session)), ([key]) => inoOfHeld(key));
  const closed = held.filter((ino) => !isOpen.has(ino));
  if (closed.length > 0) editor.apply({ release: { session, inos: closed } });
  return held.filter((ino) => isOpen.has(ino));
}

/** Gives up inodes that a session holds. Makes no edit when it holds none of them. */
export function release({ kv, editor }: Context, { session, inos }: ReleaseRequest): Record<string, never> {
  id(session, "session");
  for (const ino of inos) id(ino, "inode");
  const held = inos.filter((ino) => heldBy(kv, session, ino) !== 0);
  if (held.length > 0) editor.apply({ release: { session, inos: held } });
  return {};
}
