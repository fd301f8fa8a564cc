import { CairnError } from "../../../common/errors.js";
import { MAX_LINKS, MAX_TARGET, ROOT_INO } from "../../../common/limits.js";
import type {
  Birth,
  CreateEditInit,
  CreateReplyInit,
  CreateRequest,
  Inode,
  InodeReplyInit,
  LinkRequest,
  Policy,
  Time,
  UnlinkReplyInit,
  UnlinkRequest,
} from "../../../proto/gen/types.js";
import { inheritPolicy } from "../../../proto/policy.js";
import { checkName, checkPolicy, inRange, isDots, valid } from "../checks.js";
import { checkQuotas } from "../quotas.js";
import { readCluster, readDentry, readInode } from "../records.js";
import { isSnapshotted } from "../snapshots/records.js";
import {
  isDirectory,
  isRegular,
  PERMISSIONS,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  S_ISGID,
} from "../types.js";
import { type Context, callOf, known, livingDirectory, named, nameError } from "./context.js";
import { heldBy } from "./held.js";
import { checkNewNumber, checkNoList, checkNotReserved } from "./snapshots.js";

const NOTHING = Buffer.alloc(0);
const TYPES: ReadonlySet<number> = new Set([S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK]);

/** What a new inode is to be, and where; `ino` 0: any number. */
type NewNode = Omit<CreateRequest, "call" | "openExisting" | "delegate">;

/** Makes a file, directory, symlink or special file. */
export function create(ctx: Context, request: CreateRequest): CreateReplyInit {
  const { dir, name } = request;
  const time = ctx.clock.timestamp();
  const made = newNode(ctx, request, time);
  if (!("existing" in made)) {
    const { index, effects } = ctx.editor.apply({ time, call: callOf(request.call), create: made });
    return { inode: effects.inode!, index, existed: false, parent: effects.parent! };
  }
  const { existing } = made;
  if (existing.ino === request.ino) return { inode: existing, existed: false };
  if (!request.openExisting || !isRegular(request) || !isRegular(existing)) {
    throw nameError("EEXIST", "create", dir, name, "it exists");
  }
  return { inode: existing, existed: true };
}

/**
 * The edit that makes the file that a client has made by itself, or the inode when that has been done. EEXIST when the name is
 * another's.
 */
export function born(ctx: Context, ino: number, birth: Birth, time: Time): CreateEditInit | { existing: Inode } {
  const { dir, name, mode, uid, gid } = birth;
  const file = { dir, name, uid, gid, ino, mode: S_IFREG | mode, rdev: 0, target: NOTHING, policy: null };
  const made = newNode(ctx, file, time);
  if ("existing" in made && made.existing.ino !== ino) throw nameError("EEXIST", "create", dir, name, "it exists");
  return made;
}

/** The edit that makes an inode; or the one that has the name. */
function newNode(ctx: Context, node: NewNode, time: Time): CreateEditInit | { existing: Inode } {
  const { dir, name, mode } = node;
  const parent = livingDirectory(ctx.kv, dir);
  checkName(name);
  checkNewInode(node);
  if (isDots(name)) throw nameError("EEXIST", "create", dir, name, "it exists");
  const dentry = readDentry(ctx.kv, dir, name);
  if (dentry !== undefined) return { existing: named(ctx.kv, dentry) };
  checkNotReserved("create", dir, name);
  checkQuotas(ctx.kv, dir, { names: 1, bytes: 0 });
  const nextIno = Math.max(readCluster(ctx.kv).nextIno, ctx.inosFrom);
  checkNewNumber(node.ino || nextIno);
  if (node.ino !== 0) {
    inRange(node.ino, ROOT_INO + 1, nextIno - 1, "inode number of a client's own");
    if (readInode(ctx.kv, node.ino) !== undefined)
      throw nameError("EEXIST", "create", dir, name, "its number is taken");
  }
  // A directory with the setgid bit hands its group down, and the bit to directories.
  const inherits = (parent.mode & S_ISGID) !== 0;
  const inode = {
    ino: node.ino || nextIno,
    mode: inherits && isDirectory(node) ? mode | S_ISGID : mode,
    uid: node.uid,
    gid: inherits ? parent.gid : node.gid,
    nlink: isDirectory(node) ? 2 : 1,
    size: node.target.length,
    rdev: node.rdev,
    atime: time,
    mtime: time,
    ctime: time,
    parent: dir,
    target: node.target,
    policy: newPolicy(ctx, parent, node),
  };
  return { dir, name, inode };
}

function checkNewInode({ mode, rdev, target, policy, uid, gid }: NewNode): void {
  const type = mode & S_IFMT;
  valid(TYPES.has(type) && (mode & ~(S_IFMT | PERMISSIONS)) === 0, () => `mode 0${mode.toString(8)} is none`);
  valid(uid !== 0xffffffff && gid !== 0xffffffff, "an owner of -1 is none");
  valid(rdev === 0 || type === S_IFCHR || type === S_IFBLK, "only device nodes have a device number");
  if (type === S_IFLNK) {
    if (target.length === 0) throw new CairnError("ENOENT", "a symbolic link to nothing");
    if (target.length > MAX_TARGET) {
      throw new CairnError("ENAMETOOLONG", `a symbolic link of ${target.length} bytes; at most ${MAX_TARGET}`);
    }
    valid(!target.includes(0), "the target of a symbolic link holds a NUL");
  } else valid(target.length === 0, "only symbolic links have a target");
  if (policy !== null) checkPolicy(policy);
}

/** A file's policy is decided when it is made; a directory keeps only what it or those above it were told. */
function newPolicy({ defaults }: Context, parent: Inode, node: NewNode): Policy {
  const inherited = inheritPolicy(node.policy, parent.policy);
  if (isDirectory(node)) return inherited;
  if (!isRegular(node)) return { replicas: 0, blockSize: 0, compression: 0 };
  return inheritPolicy(inherited, defaults);
}

/** A further name for a file. */
export function link(ctx: Context, request: LinkRequest): InodeReplyInit {
  const { ino, dir, name } = request;
  const inode = known(ctx.kv, ino);
  livingDirectory(ctx.kv, dir);
  checkName(name);
  if (isDots(name) || readDentry(ctx.kv, dir, name) !== undefined) {
    throw nameError("EEXIST", "link", dir, name, "it exists");
  }
  checkNotReserved("link", dir, name);
  if (isDirectory(inode)) throw nameError("EPERM", "link", dir, name, `inode ${ino} is a directory`);
  if (inode.nlink === 0) throw nameError("ENOENT", "link", dir, name, `inode ${ino} was removed`);
  if (inode.nlink >= MAX_LINKS) throw nameError("EMLINK", "link", dir, name, `inode ${ino} has too many names`);
  checkQuotas(ctx.kv, dir, { names: 1, bytes: inode.parent === 0 ? inode.allocated : 0 });
  const { index, effects } = ctx.editor.apply({ call: callOf(request.call), link: { ino, dir, name } });
  return { inode: effects.inode!, index };
}

/** Removes a name: of an empty directory, or of anything else, as the request says. */
export function unlink(ctx: Context, request: UnlinkRequest): UnlinkReplyInit {
  const { dir, name, directory, call } = request;
  livingDirectory(ctx.kv, dir);
  checkName(name);
  if (isDots(name)) {
    const code = !directory ? "EISDIR" : name.length === 1 ? "EINVAL" : "ENOTEMPTY";
    throw nameError(code, "remove", dir, name, "it is a directory's own name");
  }
  const dentry = readDentry(ctx.kv, dir, name);
  if (dentry === undefined) {
    checkNoList(ctx.kv, "remove", dir, name);
    throw nameError("ENOENT", "remove", dir, name, "no such name");
  }
  const isDir = dentry.type === S_IFDIR;
  if (isDir && !directory) throw nameError("EISDIR", "remove", dir, name, "it is a directory");
  if (!isDir && directory) throw nameError("ENOTDIR", "remove", dir, name, "it is no directory");
  if (isDir && named(ctx.kv, dentry).size > 0) throw nameError("ENOTEMPTY", "remove", dir, name, "it is not empty");
  if (isDir && isSnapshotted(ctx.kv, dentry.ino)) throw nameError("ENOTEMPTY", "remove", dir, name, "it has snapshots");
  const hold = request.hold ? call.session : 0;
  const holders = ctx.mayHaveOpen(dentry.ino, call.session);
  const { effects } = ctx.editor.apply({ call: callOf(call), unlink: { dir, name, hold, holders } });
  return { held: heldBy(ctx.kv, hold, effects.inode!.ino), parent: effects.parent! };
}
