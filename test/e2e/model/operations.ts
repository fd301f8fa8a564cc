import { constants } from "node:fs";
import fc from "fast-check";
import { KIB } from "../../../common/limits.js";

const { O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW } = constants;
const { S_IFIFO, S_IFCHR, S_IFREG } = constants;
const S_IFSOCK = 0o140000;
const RENAME_NOREPLACE = 1;
const RENAME_EXCHANGE = 2;
const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
const ZERO_RANGE = 16;
const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_UN = 8;
const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;
/** The device /dev/null. */
const NULL_DEVICE = 0x103;
/** Most bytes of one write. */
const MAX_WRITE = 300 * KIB;
/** Where writes begin, at most, bytes: beyond two of the smallest blocks. */
const MAX_OFFSET = 2500 * KIB;

/** An operation as the player (player.py) takes it: what to `do`, as which `user`, on what. */
export interface Operation {
  readonly do: string;
  /** 0, or an ordinary user, who is in a group of the same number and in one that is 100 higher. */
  readonly user: number;
  /** Whether this changes the ctime of this path is told too. */
  readonly watch?: string;
  readonly [argument: string]: unknown;
}

/** What a mount can do; what it cannot is not asked of it. */
export interface Abilities {
  /** Several names of an inode are one inode to the kernel. */
  readonly links: boolean;
  /** renameat2(2). */
  readonly renameFlags: boolean;
  /** A shared mapping of a file that is open with O_APPEND. */
  readonly mappedAppend: boolean;
  /** The ctime that programs see is never an old one. */
  readonly ctime: boolean;
  /** fallocate(2), copy_file_range(2), and holes that are told. */
  readonly ranges: boolean;
}

// Few names and few users, so that operations meet on the same inodes.
const component = fc.oneof(
  { weight: 30, arbitrary: fc.constantFrom("a", "b", "c") },
  { weight: 2, arbitrary: fc.constantFrom("d", "name with space", "\xff\xfe") },
  { weight: 1, arbitrary: fc.constantFrom(".", "..", "n".repeat(255), "n".repeat(256)) },
);
const components = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(component) },
  { weight: 4, arbitrary: fc.tuple(fc.constantFrom("c", "c", "c", "a", "b"), component) },
  { weight: 1, arbitrary: fc.tuple(component, component, component) },
);
const path = fc.oneof(
  { weight: 40, arbitrary: components.map((names) => names.join("/")) },
  { weight: 1, arbitrary: components.map((names) => `${names.join("/")}/`) },
  { weight: 1, arbitrary: fc.constantFrom("", ".", "/", "a//b") },
);
const target = fc.oneof(
  { weight: 4, arbitrary: path },
  { weight: 2, arbitrary: path.map((p) => `/${p}`) },
  { weight: 1, arbitrary: fc.constantFrom("t".repeat(4095), "t".repeat(4096), "x/../a") },
);
const mode = fc.oneof(
  fc.constantFrom(0o644, 0o600, 0o755, 0o777, 0o4755, 0o2775, 0o6777, 0o1777, 0o000),
  fc.nat({ max: 0o7777 }),
);
const owner = { uid: fc.constantFrom(-1, 0, 1001, 1002), gid: fc.constantFrom(-1, 0, 1001, 1101, 1002) };
const follow = fc.boolean();
const fd = fc.nat({ max: 5 });
const seed = fc.nat({ max: 1000 });
const length = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 300 }) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 9 * KIB }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: MAX_WRITE }) },
);
const at = fc.oneof(
  { weight: 3, arbitrary: fc.nat({ max: 600 }) },
  { weight: 2, arbitrary: fc.nat({ max: 20 * KIB }) },
  { weight: 1, arbitrary: fc.nat({ max: MAX_OFFSET }) },
);
const size = fc.oneof({ weight: 8, arbitrary: at }, { weight: 1, arbitrary: fc.constantFrom(-1, 0, 1 << 30, 2 ** 43) });
const access = fc.constantFrom(O_RDONLY, O_WRONLY, O_RDWR, O_RDWR);
const flags = fc
  .tuple(
    access,
    fc.oneof({ weight: 3, arbitrary: fc.constant(O_CREAT) }, { weight: 1, arbitrary: fc.constant(0) }),
    fc.oneof(
      { weight: 6, arbitrary: fc.constant(0) },
      { weight: 4, arbitrary: fc.constantFrom(O_EXCL, O_TRUNC, O_APPEND, O_TRUNC | O_APPEND) },
      { weight: 1, arbitrary: fc.constantFrom(O_NOFOLLOW, O_EXCL | O_TRUNC) },
    ),
  )
  .map(([how, create, more]) => how | create | more);
// Before 2001, which the player tells from the present.
const time = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      sec: fc.integer({ min: -2_000_000_000, max: 999_999_999 }),
      nsec: fc.integer({ min: 0, max: 999_999_999 }),
    }),
  },
  { weight: 1, arbitrary: fc.constantFrom("now", "omit") },
);
const attribute = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom("user.a", "user.b", "trusted.a") },
  { weight: 1, arbitrary: fc.constantFrom("user.", "user", "nonsense.a", "", `user.${"n".repeat(250)}`) },
  { weight: 1, arbitrary: fc.constant(`user.${"n".repeat(251)}`) },
);
const attributeFlags = fc.constantFrom(0, 0, XATTR_CREATE, XATTR_REPLACE);
// What ext4 has room for.
const attributeLength = fc.nat({ max: 500 });
const special = fc.constantFrom([S_IFIFO, 0], [S_IFSOCK, 0], [S_IFCHR, NULL_DEVICE], [S_IFREG, 0]);

type Kind = [weight: number, name: string, args: Record<string, fc.Arbitrary<unknown>>];

const rangeKinds: Kind[] = [
  [
    5,
    "fallocate",
    { fd, mode: fc.constantFrom(0, KEEP_SIZE, KEEP_SIZE | PUNCH_HOLE, ZERO_RANGE, KEEP_SIZE | ZERO_RANGE), at, length },
  ],
  [5, "copyRange", { fd, at, to: fd, toAt: at, length }],
  [3, "holes", { fd }],
];

/** The arguments of every operation, and how often it is drawn. */
function kinds({ links, renameFlags, mappedAppend, ranges }: Abilities): Kind[] {
  const renaming = renameFlags
    ? fc.constantFrom(0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_NOREPLACE | RENAME_EXCHANGE)
    : fc.constant(0);
  return [
    [25, "open", { path, flags, mode }],
    [1, "open", { path, flags: fc.constantFrom(O_RDONLY | O_DIRECTORY, O_RDONLY), mode }],
    [4, "close", { fd }],
    [3, "read", { fd, length }],
    [3, "pread", { fd, length, at }],
    [6, "write", { fd, length, seed }],
    [5, "pwrite", { fd, length, at, seed }],
    [1, "writev", { fd, length: fc.nat({ max: 5000 }), seed }],
    [2, "lseek", { fd, at, whence: fc.constantFrom(0, 1, 2) }],
    [3, "ftruncate", { fd, size }],
    [1, "fsync", { fd }],
    [1, "fdatasync", { fd }],
    [2, "dropPages", { fd }],
    [3, "fstat", { fd }],
    [1, "fchmod", { fd, mode }],
    [1, "fchown", { fd, ...owner }],
    [1, "fgetxattr", { fd, name: attribute }],
    [1, "fsetxattr", { fd, name: attribute, length: attributeLength, seed, flags: attributeFlags }],
    [1, "freaddir", { fd }],
    [2, "mapRead", { fd }],
    [2, "mapWrite", { fd, at, length, seed, appending: fc.constant(mappedAppend) }],
    [2, "flock", { fd, how: fc.constantFrom(LOCK_SH, LOCK_EX, LOCK_UN) }],
    ...(ranges ? rangeKinds : []),
    [6, "mkdir", { path, mode }],
    [
      2,
      "mknod",
      { path, mode: fc.tuple(special, mode).map(([[type], m]) => type! | m), device: fc.constant(NULL_DEVICE) },
    ],
    [3, "symlink", { path, target }],
    ...(links ? ([[4, "link", { from: path, path, follow }]] as Kind[]) : []),
    [5, "unlink", { path }],
    [3, "rmdir", { path }],
    [8, "rename", { from: path, path, flags: renaming }],
    [1, "readlink", { path }],
    [3, "readdir", { path }],
    [5, "stat", { path, follow }],
    [1, "access", { path, mode: fc.nat({ max: 7 }) }],
    [3, "chmod", { path, mode }],
    [3, "chown", { path, ...owner, follow }],
    [3, "truncate", { path, size }],
    [3, "utime", { path, atime: time, mtime: time, follow }],
    [2, "getxattr", { path, name: attribute, follow }],
    [4, "setxattr", { path, name: attribute, length: attributeLength, seed, flags: attributeFlags, follow }],
    [1, "listxattr", { path, follow }],
    [2, "removexattr", { path, name: attribute, follow }],
    [1, "umask", { mode: fc.constantFrom(0o022, 0o000, 0o077, 0o027) }],
  ];
}

const user = fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.constantFrom(1001, 1002) });
const unwatched = fc.constant(undefined);
const watched = fc.oneof(
  { weight: 24, arbitrary: unwatched },
  { weight: 1, arbitrary: components.map((names) => names.join("/")) },
);

/** Sequences of operations for a mount with these abilities. */
export function sequences(abilities: Abilities): fc.Arbitrary<Operation[]> {
  const watch = abilities.ctime ? watched : unwatched;
  const operation = fc.oneof(
    ...kinds(abilities).map(([weight, name, args]) => ({
      weight,
      arbitrary: fc.record({ do: fc.constant(name), ...args, user, watch }).map(withoutAbsent),
    })),
  );
  return fc.array(operation, { minLength: 1, maxLength: 50, size: "max" });
}

function withoutAbsent({ watch, ...operation }: Record<string, unknown>): Operation {
  return { ...operation, ...(watch !== undefined && { watch }) } as Operation;
}
