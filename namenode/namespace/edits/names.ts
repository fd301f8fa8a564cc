import { invariant } from "../../../common/errors.js";
import type { CreateEdit, Inode, LinkEdit, RenameEdit, UnlinkEdit } from "../../../proto/gen/types.js";
import { dentryKey, inodeKey } from "../keys.js";
import { readDentry, writeDentry } from "../records.js";
import { isDirectory } from "../types.js";
import type { Change } from "./change.js";
import { abandon, hold } from "./held.js";
import { arrive, dropQuota, leave, NOTHING_BELOW } from "./quotas.js";

/** A new inode under a new name. */
export function create(change: Change, { dir, name, inode }: CreateEdit): void {
  const { cluster, kv } = change;
  const reserved = inode.ino < cluster.nextIno;
  invariant(!reserved || kv.get(inodeKey(inode.ino)) === undefined, () => `inode number ${inode.ino} is new`);
  if (!reserved) cluster.nextIno = inode.ino + 1;
  if (isDirectory(inode)) cluster.directories += 1;
  else cluster.files += 1;
  const parent = change.inode(dir);
  addName(change, parent, name, inode);
  inode.parent = 0;
  arrive(change, parent, inode, NOTHING_BELOW);
  change.touch(inode);
  change.modify(parent);
  change.effects.inode = inode;
  change.effects.parent = parent;
}

/** A further name for a file. */
export function link(change: Change, { ino, dir, name }: LinkEdit): void {
  const inode = change.inode(ino);
  inode.nlink += 1;
  const parent = change.inode(dir);
  addName(change, parent, name, inode);
  arrive(change, parent, inode, NOTHING_BELOW);
  change.touch(inode);
  change.modify(parent);
  change.effects.inode = inode;
}

/** Removes a name; with the last one the inode goes to the reclaim list, or is held for the sessions that have it open. */
export function unlink(change: Change, { dir, name, hold, holders }: UnlinkEdit): void {
  const parent = change.inode(dir);
  const inode = held(change, dir, name);
  removeName(change, parent, name, inode);
  leave(change, parent, inode, NOTHING_BELOW);
  change.modify(parent);
  loseName(change, inode, [hold, ...holders]);
  change.effects.inode = inode;
  change.effects.parent = parent;
}

/** Moves a name, over what the target name holds or in exchange for it. */
export function rename(change: Change, edit: RenameEdit): void {
  const { fromDir, fromName, toDir, toName, exchange } = edit;
  const from = change.inode(fromDir);
  const to = toDir === fromDir ? from : change.inode(toDir);
  const moved = held(change, fromDir, fromName);
  const target = readDentry(change.kv, toDir, toName);
  const replaced = target && change.inode(target.ino);
  invariant(moved.ino !== replaced?.ino, "a rename between two names of one inode makes no edit");

  const movedBelow = { names: edit.movedNames, bytes: edit.movedBytes };
  const replacedBelow = { names: edit.replacedNames, bytes: edit.replacedBytes };
  removeName(change, from, fromName, moved);
  leave(change, from, moved, movedBelow);
  if (replaced !== undefined) {
    removeName(change, to, toName, replaced);
    leave(change, to, replaced, replacedBelow);
  }
  addName(change, to, toName, moved);
  arrive(change, to, moved, movedBelow);
  if (exchange) {
    invariant(replaced !== undefined, "an exchange has both names");
    addName(change, from, fromName, replaced);
    arrive(change, from, replaced, replacedBelow);
    change.touch(replaced);
  } else if (replaced !== undefined) loseName(change, replaced, [edit.hold, ...edit.holders]);
  change.touch(moved);
  change.modify(from);
  if (to !== from) change.modify(to);
  change.effects.inode = moved;
  change.effects.parent = to;
  if (to !== from) change.effects.left = from;
  if (replaced !== undefined) change.effects.replaced = replaced;
}

/** The inode under a name. */
function held(change: Change, dir: number, name: Uint8Array): Inode {
  const dentry = readDentry(change.kv, dir, name);
  invariant(dentry !== undefined, () => `the name of edit ${change.index} exists in directory ${dir}`);
  return change.inode(dentry.ino);
}

/** Enters a name. The caller stores both inodes. */
function addName(change: Change, dir: Inode, name: Uint8Array, inode: Inode): void {
  writeDentry(change.kv, dir.ino, name, inode);
  change.named(dir.ino, name);
  dir.size += 1;
  if (isDirectory(inode)) dir.nlink += 1;
}

/** Takes a name out. The caller stores both inodes. */
function removeName(change: Change, dir: Inode, name: Uint8Array, inode: Inode): void {
  change.kv.delete(dentryKey(dir.ino, name));
  change.named(dir.ino, name);
  dir.size -= 1;
  if (isDirectory(inode)) dir.nlink -= 1;
  invariant(dir.size >= 0 && dir.nlink >= 2, () => `directory ${dir.ino} has sound counts`);
}

/** An inode has lost a name; with the last one (a directory has only one) it is nobody's, but for sessions that have it open. */
function loseName(change: Change, inode: Inode, holders: number[]): void {
  if (isDirectory(inode)) {
    invariant(inode.size === 0 && inode.nlink === 2, () => `directory ${inode.ino} is empty when it goes`);
    inode.nlink = 0;
    dropQuota(change, inode.ino);
    change.cluster.directories -= 1;
  } else {
    inode.nlink -= 1;
    if (inode.nlink === 0) change.cluster.files -= 1;
  }
  change.touch(inode);
  if (inode.nlink > 0) return;
  const sessions = holders.filter((session) => session !== 0);
  if (sessions.length > 0) hold(change, sessions, inode.ino);
  else abandon(change, inode.ino);
}
