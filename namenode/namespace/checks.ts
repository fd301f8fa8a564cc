// Checks of what came from the network, before anything is done with it.
import { CairnError } from "../../common/errors.js";
import {
  CHUNK_SIZE,
  MAX_BLOCK_SIZE,
  MAX_FILE_SIZE,
  MAX_NAME,
  MAX_REPLICAS,
  MAX_XATTR_VALUE,
  MIN_BLOCK_SIZE,
} from "../../common/limits.js";
import { type CallId, Compression, type Policy, type Time } from "../../proto/gen/types.js";
import { PERMISSIONS } from "./types.js";

/** Calls between a session's newest and the oldest whose reply it waits for, at most: bounds the records kept. */
export const MAX_CALL_WINDOW = 65_536;
/** Longest host or session name, characters. */
const MAX_LABEL = 255;

/** Throws EINVAL unless `ok`. `what` says what is wrong; a function where the text would be made for every call. */
export function valid(ok: boolean, what: string | (() => string)): void {
  if (!ok) throw new CairnError("EINVAL", typeof what === "string" ? what : what());
}

/** Throws EINVAL unless n is a whole number in a range (uint64 fields beyond 2^53 arrive rounded). */
export function inRange(n: number, min: number, max: number, what: string | (() => string)): void {
  if (Number.isSafeInteger(n) && n >= min && n <= max) return;
  throw new CairnError("EINVAL", `${typeof what === "string" ? what : what()}: ${n} is not within ${min}..${max}`);
}

/** An id: of an inode, a session, a block. */
export function id(n: number, what: string): void {
  inRange(n, 1, Number.MAX_SAFE_INTEGER, what);
}

/** A name as people read it. */
export function quote(name: Uint8Array): string {
  return JSON.stringify(Buffer.from(name.subarray(0, MAX_NAME)).toString());
}

/** Whether a name is "." or "..". */
export function isDots(name: Uint8Array): boolean {
  const [a, b] = name;
  return a === 0x2e && (name.length === 1 || (name.length === 2 && b === 0x2e));
}

/** A name in a directory: EINVAL when it is none, ENAMETOOLONG. */
export function checkName(name: Uint8Array): void {
  if (name.length > MAX_NAME) {
    throw new CairnError("ENAMETOOLONG", `a name of ${name.length} bytes; at most ${MAX_NAME} are allowed`);
  }
  if (name.length === 0 || name.includes(0) || name.includes(0x2f)) {
    throw new CairnError("EINVAL", `not a name: ${quote(name)}`);
  }
}

/** The name of an extended attribute: ERANGE when it is too long or none, as Linux says. */
export function checkXattrName(name: Uint8Array): void {
  if (name.length === 0 || name.length > MAX_NAME || name.includes(0)) {
    throw new CairnError("ERANGE", `not a name of an extended attribute: ${quote(name)}`);
  }
}

/** The value of an extended attribute: E2BIG. */
export function checkXattrValue(value: Uint8Array): void {
  if (value.length > MAX_XATTR_VALUE) {
    throw new CairnError("E2BIG", `an extended attribute of ${value.length} bytes; at most ${MAX_XATTR_VALUE}`);
  }
}

/** New mode and owner, as far as they are given. */
export function checkOwnership({
  mode,
  uid,
  gid,
}: {
  mode: number | null;
  uid: number | null;
  gid: number | null;
}): void {
  valid(mode === null || (mode & ~PERMISSIONS) === 0, () => `mode 0${mode?.toString(8)} has more than permission bits`);
  valid(uid !== 0xffffffff && gid !== 0xffffffff, "an owner of -1 is none");
}

/** A file time. */
export function checkTime(time: Time | null, what: string): void {
  if (time === null) return;
  valid(Number.isSafeInteger(time.sec) && time.nsec < 1e9, () => `${what} is not a time`);
}

/** A file size: EFBIG. */
export function checkSize(size: number): void {
  if (size > MAX_FILE_SIZE) throw new CairnError("EFBIG", `a file of ${size} bytes; at most ${MAX_FILE_SIZE}`);
  inRange(size, 0, MAX_FILE_SIZE, "file size");
}

/** A host's or a session's name. */
export function checkLabel(text: string, what: string): void {
  valid(text.length <= MAX_LABEL, () => `${what} is longer than ${MAX_LABEL} characters`);
}

/** The number of wanted copies. */
export function checkReplicas(replicas: number): void {
  inRange(replicas, 1, MAX_REPLICAS, "replicas");
}

/** A block size. */
export function checkBlockSize(size: number): void {
  inRange(size, MIN_BLOCK_SIZE, MAX_BLOCK_SIZE, "block size");
  valid(size % CHUNK_SIZE === 0, () => `block size: ${size} is no multiple of ${CHUNK_SIZE}`);
}

/** What a request says about a policy: fields that are zero say nothing. */
export function checkPolicy({ replicas, blockSize, compression }: Policy): void {
  if (replicas !== 0) checkReplicas(replicas);
  if (blockSize !== 0) checkBlockSize(blockSize);
  valid((Object.values(Compression) as number[]).includes(compression), () => `compression: ${compression} is unknown`);
}

/** The identity of a mutating call. */
export function checkCall(call: CallId): void {
  id(call.session, "session");
  id(call.sequence, "sequence of a call");
  inRange(call.doneBelow, 0, call.sequence, "calls done");
  valid(
    call.sequence - call.doneBelow <= MAX_CALL_WINDOW,
    () => `call ${call.sequence} is too far ahead of those done`,
  );
}
