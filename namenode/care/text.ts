// Records of the store as lines of JSON, and back: docs/dump-format.md.
import { CairnError } from "../../common/errors.js";
import {
  AdministerDatanodeEdit,
  BlockRecord,
  ClusterRecord,
  DentryRecord,
  ExtentRecord,
  InlineRecord,
  Inode,
  RegisterDatanodeEdit,
} from "../../proto/gen/types.js";
import type { Codec } from "../../proto/method.js";
import {
  blockKey,
  CLUSTER,
  datanodeKey,
  dentryKey,
  dutyKey,
  extentKey,
  idOfBlock,
  inlineKey,
  inodeKey,
  nameOfDentry,
  offsetOfExtent,
  readU64,
  xattrKey,
} from "../namespace/keys.js";
import type { Key } from "../store/kv.js";

type Fields = Record<string, unknown>;

/** How one kind of record is written. */
interface RecordKind {
  /** The letter that its keys begin with. */
  readonly letter: string;
  /** Its value; undefined: bytes, as the field "value". */
  readonly codec?: Codec<object, object>;
  /** Fields of the value that are bytes. */
  readonly bytes?: readonly string[];
  /** What its key says, as far as the value does not. */
  readonly ofKey: (key: Key) => Fields;
  readonly toKey: (fields: Fields) => Key;
}

const inKey = (key: Key): number => readU64(key, 1);

const KINDS: Readonly<Record<string, RecordKind>> = {
  cluster: { letter: CLUSTER, codec: ClusterRecord, ofKey: () => ({}), toKey: () => CLUSTER },
  inode: {
    letter: "I",
    codec: Inode,
    bytes: ["target"],
    ofKey: () => ({}),
    toKey: (f) => inodeKey(number(f, "ino")),
  },
  dentry: {
    letter: "D",
    codec: DentryRecord,
    ofKey: (key) => ({ dir: inKey(key), name: textOf(nameOfDentry(key)) }),
    toKey: (f) => dentryKey(number(f, "dir"), bytesOf(f["name"], "name")),
  },
  extent: {
    letter: "E",
    codec: ExtentRecord,
    ofKey: (key) => ({ ino: inKey(key), offset: offsetOfExtent(key) }),
    toKey: (f) => extentKey(number(f, "ino"), number(f, "offset")),
  },
  block: {
    letter: "B",
    codec: BlockRecord,
    ofKey: (key) => ({ id: idOfBlock(key) }),
    toKey: (f) => blockKey(number(f, "id")),
  },
  inline: {
    letter: "Y",
    codec: InlineRecord,
    bytes: ["data"],
    ofKey: (key) => ({ id: inKey(key) }),
    toKey: (f) => inlineKey(number(f, "id")),
  },
  xattr: {
    letter: "X",
    bytes: ["value"],
    ofKey: (key) => ({ ino: inKey(key), name: textOf(nameOfDentry(key)) }),
    toKey: (f) => xattrKey(number(f, "ino"), bytesOf(f["name"], "name")),
  },
  datanode: {
    letter: "M",
    codec: RegisterDatanodeEdit,
    ofKey: () => ({}),
    toKey: (f) => datanodeKey(number(f, "id")),
  },
  duty: { letter: "O", codec: AdministerDatanodeEdit, ofKey: () => ({}), toKey: (f) => dutyKey(number(f, "id")) },
};
const BY_LETTER = new Map(Object.entries(KINDS).map(([name, kind]) => [kind.letter, { name, kind }]));
/** Any other record: its key and value as they are. */
const OTHER = "record";
/** What datanodes report anyway is not dumped: where replicas are, and what is to be done about it. */
const REPORTED: ReadonlySet<string> = new Set(["L", "N", "G", "U"]);

/** A record as one line, without the line's end; undefined for what is not dumped. */
export function lineOf(key: Key, value: Uint8Array): string | undefined {
  const letter = key[0] ?? "";
  if (REPORTED.has(letter)) return undefined;
  const known = BY_LETTER.get(letter);
  if (known === undefined) {
    const hex = Buffer.from(value).toString("hex");
    return JSON.stringify({ [OTHER]: { key: Buffer.from(key, "latin1").toString("hex"), value: hex } });
  }
  const { codec } = known.kind;
  const fields = codec === undefined ? { value: textOf(value) } : plain(codec.decode(value));
  return JSON.stringify({ [known.name]: { ...known.kind.ofKey(key), ...fields } });
}

/** The record of a line. EINVAL: it is none. */
export function recordOf(name: string, fields: Fields): [Key, Uint8Array] {
  if (name === OTHER) return [hexOf(fields["key"], "key").toString("latin1"), hexOf(fields["value"], "value")];
  const kind = Object.hasOwn(KINDS, name) ? KINDS[name] : undefined;
  if (kind === undefined) throw new CairnError("EINVAL", `"${name}" is no kind of record`);
  const key = kind.toKey(fields);
  if (kind.codec === undefined) return [key, bytesOf(fields["value"], "value")];
  const value = { ...fields };
  for (const field of kind.bytes ?? []) if (field in value) value[field] = bytesOf(value[field], field);
  return [key, kind.codec.encode(value).finish()];
}

/** A decoded message as JSON has it: without the fields that are empty, zero or absent. */
function plain(message: object): Fields {
  const fields: Fields = {};
  for (const [name, value] of Object.entries(message) as [string, unknown][]) {
    if (!value || (value as { length?: number }).length === 0) continue;
    if (value instanceof Uint8Array) fields[name] = textOf(value);
    else if (Array.isArray(value)) fields[name] = value.map((v) => (typeof v === "object" ? plain(v as object) : v));
    else fields[name] = typeof value === "object" ? plain(value) : value;
  }
  return fields;
}

/** Bytes: as text where they are UTF-8, else in hexadecimal. */
function textOf(bytes: Uint8Array): string | { hex: string } {
  const buffer = Buffer.from(bytes);
  const text = buffer.toString();
  return Buffer.from(text).equals(buffer) ? text : { hex: buffer.toString("hex") };
}

function bytesOf(value: unknown, field: string): Buffer {
  if (typeof value === "string") return Buffer.from(value);
  return hexOf((value as { hex?: unknown } | null)?.hex, field);
}

function hexOf(value: unknown, field: string): Buffer {
  if (typeof value === "string" && /^([0-9a-f]{2})*$/.test(value)) return Buffer.from(value, "hex");
  throw new CairnError("EINVAL", `"${field}" is neither text nor bytes`);
}

function number(fields: Fields, field: string): number {
  const value = fields[field] ?? 0;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new CairnError("EINVAL", `"${field}" is no number`);
}
