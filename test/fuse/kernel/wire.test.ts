import { expect } from "chai";
import fc from "fast-check";
import { CairnError } from "../../../common/errors.js";
import { Opcode } from "../../../fuse/kernel/abi.js";
import {
  DirectoryReply,
  encodeAttributes,
  encodeCreate,
  encodeEntry,
  encodeForgetAttributes,
  encodeInit,
  encodeLock,
  encodeStatistics,
  newReply,
  seal,
} from "../../../fuse/kernel/reply.js";
import * as request from "../../../fuse/kernel/request.js";
import type { Inode } from "../../../proto/gen/types.js";
import { captured } from "./captured.js";

const body = (name: Parameters<typeof captured>[0]) => new request.RequestReader(captured(name));
const text = (value: object) => JSON.parse(JSON.stringify(value, (_, v) => v)) as unknown;
const timeouts = { entryMs: 1500, attributesMs: 250 };

const inode: Inode = {
  ino: 2 ** 40 + 3,
  mode: 0o100644,
  uid: 1000,
  gid: 4_000_000_000,
  nlink: 2,
  size: 2 ** 43 + 1,
  rdev: 259,
  atime: { sec: -3, nsec: 999_999_999 },
  mtime: { sec: 2 ** 33, nsec: 7 },
  ctime: { sec: 5, nsec: 0 },
  allocated: 1025,
  version: 1,
  parent: 0,
  target: Buffer.alloc(0),
  inline: 0,
  xattrs: 0,
  coverage: null,
  policy: { replicas: 3, blockSize: 1 << 26, compression: 0 },
};

/** A request as the kernel makes it: words of 8 bytes, or of 4 (in brackets), after the header. */
function made(...words: (bigint | [number, number])[]): request.RequestReader {
  const bytes = Buffer.alloc(40 + words.length * 8);
  for (const [i, word] of words.entries()) {
    if (typeof word === "bigint") bytes.writeBigUInt64LE(word, 40 + i * 8);
    else for (const [j, half] of word.entries()) bytes.writeUInt32LE(half, 40 + i * 8 + j * 4);
  }
  return new request.RequestReader(bytes);
}

describe("fuse kernel: requests", () => {
  it("have a header", () => {
    expect(request.decodeHeader(captured("CREATE"))).to.deep.equal({
      opcode: Opcode.CREATE,
      unique: 0x156,
      ino: 1,
      caller: { uid: 0, gid: 0, pid: 0x5779 },
    });
  });

  it("say what the kernel can do", () => {
    const { major, minor, maxReadahead, abilities } = request.decodeInit(body("INIT"));
    expect([major, minor, maxReadahead]).to.deep.equal([7, 45, 131_072]);
    expect(abilities >>> 0).to.equal(0x73fffffb);
  });

  it("seek, allocate and copy", () => {
    const words = (...numbers: (number | bigint)[]) => {
      const bytes = Buffer.alloc(8 * numbers.length);
      for (const [at, n] of numbers.entries()) bytes.writeBigUInt64LE(BigInt(n), at * 8);
      return new request.RequestReader(bytes, 0);
    };
    expect(request.decodeLseek(words(7, 2 ** 43 + 1, 4))).to.deep.equal({ handle: 7, offset: 2 ** 43 + 1, whence: 4 });
    const range = { handle: 7, offset: 5, length: 2 ** 40, mode: 3 };
    expect(request.decodeFallocate(words(7, 5, 2 ** 40, 3))).to.deep.equal(range);
    expect(request.decodeCopyRange(words(1, 2, 3, 4, 5, 6, 0))).to.deep.equal({
      from: { handle: 1, offset: 2 },
      to: { handle: 4, offset: 5 },
      length: 6,
      flags: 0,
    });
  });

  it("name things", () => {
    expect(String(body("LOOKUP").name())).to.equal(".python-version");
    const symlink = body("SYMLINK");
    expect([String(symlink.name()), String(symlink.name())]).to.deep.equal(["sym", "target"]);
    const mkdir = request.decodeMkdir(body("MKDIR"));
    expect([mkdir.mode, String(mkdir.name)]).to.deep.equal([0o750, "dir"]);
    const mknod = request.decodeMknod(body("MKNOD"));
    expect([mknod.mode, mknod.rdev, String(mknod.name)]).to.deep.equal([0o20600, 0x103, "null"]);
    const link = request.decodeLink(body("LINK"));
    expect([link.ino, String(link.name)]).to.deep.equal([3, "hard"]);
    const { from, to, flags } = request.decodeRename(body("RENAME"), false);
    expect([String(from), to.dir, String(to.name), flags]).to.deep.equal(["hard", 2, "h", 0]);
  });

  it("lock, with all 64 bits of owners and positions", () => {
    const owner = 2n ** 64n - 3n;
    const last = 2n ** 63n - 1n;
    const lock = (type: number, flags: number) =>
      request.decodeLock(made(7n, owner, 2n ** 60n + 1n, last, [type, 99], [flags, 0]));
    const expected = { owner, first: 2n ** 60n + 1n, last, pid: 99 };
    expect(lock(1, 0)).to.deep.equal({ handle: 7, lock: { ...expected, kind: "exclusive", space: "range" } });
    expect(lock(0, 1)).to.deep.equal({ handle: 7, lock: { ...expected, kind: "shared", space: "whole" } });
    expect(lock(2, 0).lock.kind).to.equal(undefined);
    expect(() => lock(3, 0))
      .to.throw(CairnError)
      .with.property("code", "EINVAL");
    expect(request.decodeFlush(made(7n, 0n, owner))).to.deep.equal({ handle: 7, owner });
  });

  it("open, read and write", () => {
    const create = request.decodeCreate(body("CREATE"));
    expect([create.flags, create.mode, create.openFlags, String(create.name)]).to.deep.equal([
      0o100302,
      0o100640,
      0,
      "file",
    ]);
    expect(request.decodeRead(body("READ"))).to.deep.equal({ handle: 1, offset: 0, size: 4096 });
    const write = request.decodeWrite(body("WRITE"));
    expect([write.handle, write.offset, write.writeFlags, String(write.data)]).to.deep.equal([1, 0, 0, "hello"]);
    expect(request.decodeHandle(body("RELEASE"))).to.equal(1);
  });

  it("set attributes: only those that are given, times before 1970 too", () => {
    const { update, killPrivileges } = request.decodeSetattr(body("SETATTR"));
    expect(text(update)).to.deep.equal({ atime: { sec: 1_000_000_000, nsec: 5 }, mtime: { sec: -5, nsec: 7 } });
    expect(killPrivileges).to.equal(false);
  });

  it("carry extended attributes", () => {
    const set = request.decodeSetxattr(body("SETXATTR"));
    expect([String(set.name), String(set.value), set.flags]).to.deep.equal(["user.a", "value", 1]);
    const get = body("GETXATTR");
    expect([request.decodeGetxattr(get), String(get.name())]).to.deep.equal([0, "security.capability"]);
  });

  it("forget inodes", () => {
    expect(request.decodeBatchForget(body("BATCH_FORGET"))).to.deep.equal([5, 2, 3]);
  });

  it("are refused when they end too early, wherever that is", () => {
    const decoders: [Parameters<typeof captured>[0], (reader: request.RequestReader) => unknown][] = [
      ["INIT", request.decodeInit],
      ["MKDIR", request.decodeMkdir],
      ["MKNOD", request.decodeMknod],
      ["CREATE", request.decodeCreate],
      ["LINK", request.decodeLink],
      ["RENAME", (r) => request.decodeRename(r, false)],
      ["SETATTR", request.decodeSetattr],
      ["WRITE", request.decodeWrite],
      ["READ", request.decodeRead],
      ["SETXATTR", request.decodeSetxattr],
      ["BATCH_FORGET", request.decodeBatchForget],
    ];
    for (const [name, decode] of decoders) {
      const whole = captured(name);
      // All but the unused end of INIT, and the padding of SETATTR, is needed.
      const needed = name === "INIT" ? 56 : name === "SETATTR" ? 124 : whole.length;
      for (let length = 40; length < needed; length++) {
        expect(() => decode(new request.RequestReader(whole.subarray(0, length))), `${name}, ${length} bytes`)
          .to.throw(CairnError)
          .with.property("code", "EPROTO");
      }
    }
    expect(() => request.decodeHeader(captured("READ").subarray(0, 60))).to.throw(CairnError);
  });
});

describe("fuse kernel: replies", () => {
  it("say what lock is in the way, if any is", () => {
    const lock = {
      ino: 1,
      space: "range",
      owner: 5n,
      kind: "exclusive",
      first: 2n ** 60n + 1n,
      last: 2n ** 61n,
    } as const;
    const out = encodeLock({ ...lock, pid: 77 });
    expect([out.readBigUInt64LE(16), out.readBigUInt64LE(24)]).to.deep.equal([lock.first, lock.last]);
    expect([out.readUInt32LE(32), out.readUInt32LE(36), out.length]).to.deep.equal([1, 77, 40]);
    expect(encodeLock(undefined).readUInt32LE(32)).to.equal(2);
  });

  it("begin with their length, an errno and whose they are", () => {
    const reply = seal(newReply(8), 2 ** 40 + 5, -2);
    expect([reply.readUInt32LE(0), reply.readInt32LE(4), reply.readBigUInt64LE(8)]).to.deep.equal([
      24,
      -2,
      2n ** 40n + 5n,
    ]);
  });

  it("agree on what both can, in 1 MiB requests and nanoseconds", () => {
    const out = encodeInit({ abilities: 1 << 28, maxReadahead: 1 << 20, maxBackground: 64, minor: 45 });
    expect(out.length).to.equal(16 + 64);
    expect([16, 20, 24, 28, 36, 40].map((at) => out.readUInt32LE(at))).to.deep.equal([
      7,
      38,
      1 << 20,
      1 << 28,
      1 << 20,
      1,
    ]);
    expect([32, 34, 44].map((at) => out.readUInt16LE(at))).to.deep.equal([64, 48, 256]);
    expect(encodeInit({ abilities: 0, maxReadahead: 0, maxBackground: 1, minor: 31 }).readUInt32LE(20)).to.equal(31);
  });

  it("tell attributes, 64 bits wide", () => {
    const out = encodeAttributes(inode, timeouts);
    expect(out.length).to.equal(16 + 104);
    expect([out.readBigUInt64LE(16), out.readUInt32LE(24)]).to.deep.equal([0n, 250_000_000]);
    const attr = out.subarray(32);
    expect([0, 8, 16].map((at) => Number(attr.readBigUInt64LE(at)))).to.deep.equal([inode.ino, inode.size, 3]);
    expect([24, 32, 40].map((at) => Number(attr.readBigInt64LE(at)))).to.deep.equal([-3, 2 ** 33, 5]);
    expect([48, 52, 56, 60, 64, 68, 72, 76].map((at) => attr.readUInt32LE(at))).to.deep.equal([
      999_999_999, 7, 0, 0o100644, 2, 1000, 4_000_000_000, 259,
    ]);
  });

  it("tell names, and how long they hold", () => {
    const out = encodeEntry(inode, timeouts);
    expect(out.length).to.equal(16 + 128);
    expect([16, 24, 32, 40].map((at) => Number(out.readBigUInt64LE(at)))).to.deep.equal([inode.ino, 0, 1, 0]);
    expect([48, 52].map((at) => out.readUInt32LE(at))).to.deep.equal([500_000_000, 250_000_000]);
    expect(Number(out.readBigUInt64LE(56))).to.equal(inode.ino);
    const create = encodeCreate(inode, timeouts, 77, 2);
    expect(create.subarray(0, out.length).equals(out)).to.equal(true);
    expect([create.readUInt32LE(out.length), create.readUInt32LE(out.length + 8)]).to.deep.equal([77, 2]);
  });

  it("tell the file system's space, petabytes too", () => {
    const out = encodeStatistics({
      blockSize: 4096,
      blocks: 2 ** 45,
      free: 5,
      available: 4,
      files: 3,
      filesFree: 2,
      nameMax: 255,
    });
    expect(out.length).to.equal(16 + 80);
    expect([16, 24, 32, 40, 48].map((at) => Number(out.readBigUInt64LE(at)))).to.deep.equal([2 ** 45, 5, 4, 3, 2]);
    expect([56, 60, 64].map((at) => out.readUInt32LE(at))).to.deep.equal([4096, 255, 4096]);
  });

  it("are notifications when they are nobody's", () => {
    const out = encodeForgetAttributes(inode.ino);
    expect([out.length, out.readUInt32LE(0), out.readInt32LE(4), out.readBigUInt64LE(8)]).to.deep.equal([
      40,
      40,
      2,
      0n,
    ]);
    expect([out.readBigUInt64LE(16), out.readBigInt64LE(24)]).to.deep.equal([BigInt(inode.ino), -1n]);
  });

  it("list a directory in no more bytes than asked, and lose no entry", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 255 }), { maxLength: 30 }),
        fc.integer({ min: 0, max: 4096 }),
        fc.boolean(),
        (names, size, plus) => {
          const out = new DirectoryReply(size, plus ? () => timeouts : undefined);
          const taken = names.findIndex((name, i) => {
            const entry = { name: Buffer.from(name), ino: i + 10, mode: 0o40755, next: i + 1 };
            return !out.add({ ...entry, attributes: () => (i === 0 ? undefined : { ...inode, ino: i + 10 }) });
          });
          const count = taken < 0 ? names.length : taken;
          const { reply } = out;
          expect(reply.length).to.be.at.most(16 + size);
          let at = 16;
          for (let i = 0; i < count; i++) {
            if (plus) {
              expect(Number(reply.readBigUInt64LE(at))).to.equal(i === 0 ? 0 : i + 10);
              at += 128;
            }
            expect([Number(reply.readBigUInt64LE(at)), Number(reply.readBigUInt64LE(at + 8))]).to.deep.equal([
              i + 10,
              i + 1,
            ]);
            const length = reply.readUInt32LE(at + 16);
            expect(reply.readUInt32LE(at + 20)).to.equal(4);
            expect(reply.subarray(at + 24, at + 24 + length).equals(Buffer.from(names[i]!))).to.equal(true);
            at += (24 + length + 7) & ~7;
          }
          expect(at).to.equal(reply.length);
        },
      ),
    );
  });
});
