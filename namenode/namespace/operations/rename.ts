import { ROOT_INO } from "../../../common/limits.js";
import type { Inode, RenameReplyInit, RenameRequest } from "../../../proto/gen/types.js";
import type { KeyValue } from "../../store/kv.js";
import { checkName, isDots, valid } from "../checks.js";
import { moveBetweenQuotas } from "../quotas.js";
import { readDentry } from "../records.js";
import { isSnapshotted } from "../snapshots/records.js";
import { isDirectory } from "../types.js";
import { type Context, callOf, livingDirectory, named, nameError } from "./context.js";
import { checkNoList, checkNotReserved } from "./snapshots.js";

/** Moves a name, over an existing target where rename(2) may, or in exchange for it. Errors as rename(2) has them. */
export function rename(ctx: Context, request: RenameRequest): RenameReplyInit {
  const { kv } = ctx;
  const { fromDir, fromName, toDir, toName, noReplace, exchange } = request;
  const fail = (code: string, why: string) => nameError(code, "move", fromDir, fromName, why);
  const from = livingDirectory(kv, fromDir);
  const to = livingDirectory(kv, toDir);
  checkName(fromName);
  checkName(toName);
  valid(!(noReplace && exchange), "a rename cannot both exchange and not replace");
  if (isDots(fromName)) throw fail("EBUSY", "it is a directory's own name");
  if (isDots(toName)) throw fail(noReplace ? "EEXIST" : "EBUSY", "the new name is a directory's own");

  const source = readDentry(kv, fromDir, fromName);
  if (source === undefined) {
    checkNoList(kv, "move", fromDir, fromName);
    throw fail("ENOENT", "no such name");
  }
  const target = readDentry(kv, toDir, toName);
  if (target === undefined) checkNotReserved("move something to", toDir, toName);
  if (target !== undefined && noReplace) throw fail("EEXIST", "the new name exists");
  if (target === undefined && exchange) throw fail("ENOENT", "the name to exchange it with does not exist");

  const moved = named(kv, source);
  const replaced = target && named(kv, target);
  if (moved.ino === replaced?.ino) return { moved, replaced: exchange ? replaced : null };
  if (isDirectory(moved) && isBelow(kv, to, moved)) throw fail("EINVAL", "the new name is below it");
  if (replaced !== undefined) {
    if (exchange) {
      if (isDirectory(replaced) && isBelow(kv, from, replaced)) throw fail("EINVAL", "it is below the other name");
    } else if (isDirectory(moved)) {
      if (!isDirectory(replaced)) throw fail("ENOTDIR", "the new name is no directory");
      if (replaced.size > 0) throw fail("ENOTEMPTY", "the new name is a directory that is not empty");
      if (isSnapshotted(kv, replaced.ino)) throw fail("ENOTEMPTY", "the new name is a directory that has snapshots");
    } else if (isDirectory(replaced)) throw fail("EISDIR", "the new name is a directory");
  }

  const { session } = request.call;
  const hold = request.hold ? session : 0;
  const holders = replaced === undefined || exchange ? [] : ctx.mayHaveOpen(replaced.ino, session);
  const below = moveBetweenQuotas(kv, { from: fromDir, to: toDir, moved, ...(exchange && replaced && { replaced }) });
  const { index, effects } = ctx.editor.apply({
    call: callOf(request.call),
    rename: { fromDir, fromName, toDir, toName, exchange, hold, holders, ...below },
  });
  return { moved: effects.inode!, replaced: effects.replaced, index, from: effects.left, to: effects.parent };
}

/** Whether a directory is another one or lies below it. */
function isBelow(kv: KeyValue, dir: Inode, above: Inode): boolean {
  for (let at = dir; ; at = named(kv, { ino: at.parent })) {
    if (at.ino === above.ino) return true;
    if (at.ino === ROOT_INO) return false;
  }
}
