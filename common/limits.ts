// Every bound of CairnFS that is part of the contract between its parts, in one place. Bounds that only one part knows
// stand beside the code they bound.

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

/** Longest name in a directory, bytes (NAME_MAX of Linux). */
export const MAX_NAME = 255;
/** Longest symlink target, bytes (PATH_MAX of Linux minus the NUL). */
export const MAX_TARGET = 4095;
/** Largest file, bytes: 16 TiB, what ext4 gives. */
export const MAX_FILE_SIZE = 16 * 1024 * GIB;
/** Most hard links of a file (ext4: 65000). */
export const MAX_LINKS = 65_000;
/** Longest extended attribute value, bytes (XATTR_SIZE_MAX of Linux). */
export const MAX_XATTR_VALUE = 64 * KIB;
/** Longest list of extended attribute names, bytes (XATTR_LIST_MAX of Linux). */
export const MAX_XATTR_LIST = 64 * KIB;

/** Unit of checksum and compression in a block, bytes (uncompressed). */
export const CHUNK_SIZE = 64 * KIB;
/** Largest (and default) block, bytes. */
export const MAX_BLOCK_SIZE = 64 * MIB;
/** Smallest block size that may be set, bytes. */
export const MIN_BLOCK_SIZE = 1 * MIB;
/** Most copies that may be asked for. */
export const MAX_REPLICAS = 16;
/** Uncompressed bytes in one packet of a write stream, at most. */
export const MAX_PACKET = 1 * MIB;
/** Bytes one ReadBlock may ask for (the reply's chunks may reach over it by a chunk at either end). */
export const MAX_READ = 1 * MIB;
/** Chunks in one packet or read reply, at most: bounds what a writer that flushes tiny pieces can make of one. */
export const MAX_CHUNKS = 4 * KIB;
/** Chunks in one block, at most: bounds a replica's footer, which is held in memory while the block is open. */
export const MAX_BLOCK_CHUNKS = 64 * KIB;
/** Largest WebSocket message accepted anywhere, bytes: a packet or a page of results, with its envelope. */
export const MAX_MESSAGE = 4 * MIB;

/** Entries in one ReadDirectory reply. */
export const MAX_DIRECTORY_PAGE = 1000;
/** Extents in one GetExtents reply. */
export const MAX_EXTENTS_PAGE = 4096;
/** Ids of inline blocks, whose bytes the namenode keeps, begin here; those of blocks on datanodes are below. */
export const INLINE_BLOCKS = 2 ** 52;
/** Most bytes of an inline block that a namenode can be set to take: one chunk. */
export const MAX_INLINE = CHUNK_SIZE;
/** Bytes of inline blocks in one Commit, and in one GetExtents reply, at most. */
export const MAX_INLINE_PAGE = 512 * KIB;
/** Files whose content one GetExtents may ask for besides its own. */
export const MAX_AHEAD = 64;
/** Extents in one Commit. A writer with more commits in parts. */
export const MAX_COMMIT_EXTENTS = 8192;
/** Inode numbers that a client may take at a time. */
export const MAX_INODE_NUMBERS = 1024;
/** How long a client has to give a delegation back, ms; then it has none. */
export const RECALL_MS = 2_000;
/** Directories that are delegated to one client, at most. */
export const MAX_DELEGATIONS = 4096;
/** Blocks in one AllocateBlocks. */
export const MAX_ALLOCATE = 16;
/** Files in one Fsck page. */
export const MAX_FSCK_PAGE = 200;
/** Inodes in one NoteAccesses: applying it takes a few milliseconds. */
export const MAX_ACCESSES = 256;
/** Replicas or blocks named in one message between namenode and datanode. */
export const MAX_BLOCKS_PAGE = 10_000;
/** Block ids per range of a digest report. */
export const BLOCK_RANGE = 4096;
/** Ranges per region of a digest report: 2^20 block ids. */
export const REGION_RANGES = 256;
/** Regions whose ranges are in one message of a digest report: with all of theirs it stays under 300 KiB. */
export const MAX_REGIONS_PAGE = 64;

/** Calls one link may have under way in each direction; further ones wait (caller) or stop being read (callee). */
export const MAX_CALLS_IN_FLIGHT = 1024;
/** Bytes queued for sending on one link above which senders are asked to wait. */
export const LINK_HIGH_WATER = 8 * MIB;
/** How long a call waits for its reply unless it says otherwise, ms. */
export const DEFAULT_DEADLINE_MS = 30_000;
/** A link is pinged this often, ms. */
export const LINK_PING_MS = 5_000;
/** A link on which nothing arrives for this long is dead, ms. */
export const LINK_IDLE_MS = 20_000;
/** How long the connection and its WebSocket handshake may take, ms. */
export const CONNECT_TIMEOUT_MS = 5_000;

/** The default port of a namenode, the one HDFS users know. */
export const NAMENODE_PORT = 9870;
/** The default port of a datanode. */
export const DATANODE_PORT = 9864;
/** The root directory's inode number. */
export const ROOT_INO = 1;
/** The rack of a datanode that does not name one. */
export const DEFAULT_RACK = "/default-rack";
