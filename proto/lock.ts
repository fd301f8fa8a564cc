import { CairnError } from "../common/errors.js";
import { LAST_BYTE, type LockKind, type LockSpace } from "../common/lock.js";
import { type Lock, type LockInit, LockMode } from "./gen/types.js";

/** Bytes of a 64-bit number. */
const WORD = 8;

/** A lock on a file, as a client asks for it. */
export interface FileLock {
  readonly ino: number;
  readonly space: LockSpace;
  /** What the client's kernel calls the owner: any 64 bits. */
  readonly owner: bigint;
  /** Undefined: unlocked. */
  readonly kind: LockKind | undefined;
  /** First and last byte, both inside. */
  readonly first: bigint;
  readonly last: bigint;
  /** Of the process, on its machine. */
  readonly pid: number;
}

/** A lock that somebody has. */
export type TakenLock = FileLock & { readonly kind: LockKind };

const MODES = { shared: LockMode.SHARED, exclusive: LockMode.EXCLUSIVE } as const;

/** A lock as it crosses the wire. */
export function encodeLock({ ino, space, owner, kind, first, last, pid }: FileLock): LockInit {
  return {
    ino,
    whole: space === "whole",
    owner: word(owner),
    mode: kind === undefined ? LockMode.UNLOCKED : MODES[kind],
    first: word(first),
    last: word(last),
    pid,
  };
}

/** A lock that came over the wire. EINVAL when it is none. */
export function decodeLock({ ino, whole, owner, mode, first, last, pid }: Lock): FileLock {
  const kind = mode === LockMode.SHARED ? "shared" : mode === LockMode.EXCLUSIVE ? "exclusive" : undefined;
  const lock: FileLock = {
    ino,
    space: whole ? "whole" : "range",
    owner: number(owner),
    kind,
    first: number(first),
    last: number(last),
    pid,
  };
  const sound = Number.isSafeInteger(ino) && ino > 0 && lock.first <= lock.last && lock.last <= LAST_BYTE;
  if (!sound || (kind === undefined && mode !== LockMode.UNLOCKED)) throw unsound(ino);
  return lock;
}

/** As decodeLock, of one that is held. EINVAL, too, when it is not locked. */
export function decodeTakenLock(wire: Lock): TakenLock {
  const { kind, ...lock } = decodeLock(wire);
  if (kind === undefined) throw unsound(wire.ino);
  return { ...lock, kind };
}

function unsound(ino: number): CairnError {
  return new CairnError("EINVAL", `a lock on inode ${ino} that cannot be`);
}

function word(n: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(WORD);
  bytes.writeBigUInt64BE(BigInt.asUintN(64, n));
  return bytes;
}

function number(bytes: Uint8Array): bigint {
  const { buffer, byteOffset, length } = bytes;
  if (length !== WORD) throw new CairnError("EINVAL", `a number of a lock has ${length} bytes instead of ${WORD}`);
  return Buffer.from(buffer, byteOffset, length).readBigUInt64BE();
}
