import { readFileSync } from "node:fs";
import { type Timestamp, toMs } from "../../common/clock.js";
import { Compression } from "../../proto/gen/types.js";

const UNITS = ["", "K", "M", "G", "T", "P", "E"];

/** Bytes as `ls -h` shows them: 512, 1.5K, 64M. Rounded up, as coreutils do. */
export function human(bytes: number): string {
  let unit = 0;
  let n = bytes;
  while (n >= 1024 && unit < UNITS.length - 1) {
    n /= 1024;
    unit += 1;
  }
  if (unit === 0) return String(bytes);
  const tenths = Math.ceil(n * 10) / 10;
  return `${tenths < 10 ? tenths.toFixed(1) : Math.ceil(n)}${UNITS[unit]}`;
}

const S_IFMT = 0o170000;
/** By the type bits, shifted down. */
const TYPES = new Map<number, readonly [letter: string, words: string]>([
  [12, ["s", "socket"]],
  [10, ["l", "symbolic link"]],
  [8, ["-", "regular file"]],
  [6, ["b", "block special file"]],
  [4, ["d", "directory"]],
  [2, ["c", "character special file"]],
  [1, ["p", "fifo"]],
]);

function typeOf(mode: number): readonly [letter: string, words: string] {
  return TYPES.get((mode & S_IFMT) >> 12) ?? ["?", "unknown"];
}

/** Whether an inode is a directory. */
export function isDirectory(inode: { mode: number }): boolean {
  return (inode.mode & S_IFMT) === 0o040000;
}

/** Whether an inode is a regular file. */
export function isFile(inode: { mode: number }): boolean {
  return (inode.mode & S_IFMT) === 0o100000;
}

/** Whether an inode is a symbolic link. */
export function isSymlink(inode: { mode: number }): boolean {
  return (inode.mode & S_IFMT) === 0o120000;
}

/** What kind of thing an inode is, in words. */
export function typeName(mode: number): string {
  return typeOf(mode)[1];
}

/** Type and permissions as `ls -l` shows them: drwxr-xr-x. */
export function modeText(mode: number): string {
  const triple = (shift: number, special: boolean, letter: string) => {
    const bits = mode >> shift;
    const x = (bits & 1) !== 0;
    const last = special ? (x ? letter : letter.toUpperCase()) : x ? "x" : "-";
    return `${bits & 4 ? "r" : "-"}${bits & 2 ? "w" : "-"}${last}`;
  };
  return `${typeOf(mode)[0]}${triple(6, (mode & 0o4000) !== 0, "s")}${triple(3, (mode & 0o2000) !== 0, "s")}${triple(0, (mode & 0o1000) !== 0, "t")}`;
}

/** A moment as `ls --time-style=long-iso` shows it, in local time: 2024-05-01 13:37. */
export function timeText(time: Timestamp): string {
  const d = new Date(toMs(time));
  const two = (n: number) => String(n).padStart(2, "0");
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}`;
}

/** A moment in full, as ISO 8601 with nanoseconds, UTC. */
export function fullTime(time: Timestamp): string {
  const seconds = new Date(time.sec * 1000).toISOString().slice(0, -5);
  return `${seconds}.${String(time.nsec).padStart(9, "0")}Z`;
}

/** The name of a user or group of this machine, or the number when it has none. */
export function ownerText(kind: "passwd" | "group", id: number): string {
  return names(kind).get(id) ?? String(id);
}

const known = new Map<string, Map<number, string>>();

function names(kind: "passwd" | "group"): Map<number, string> {
  let table = known.get(kind);
  if (table === undefined) {
    table = new Map();
    for (const line of readFileSync(`/etc/${kind}`, "utf8").split("\n")) {
      const [name, , id] = line.split(":");
      if (name && id) table.set(Number(id), name);
    }
    known.set(kind, table);
  }
  return table;
}

/** The word for a compression, as the command line has it. */
export function compressionText(compression: Compression): string {
  return compression === Compression.LZ4 ? "lz4" : "raw";
}
