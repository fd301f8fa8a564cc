// Real mounts, with both bindings, through the kernel and the tools people use. It must fail, not be skipped, where /dev/fuse is missing.
import { constants } from "node:fs";
import * as fs from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { mountAt } from "../../fuse/mountinfo.js";
import { rejection } from "../support/rejection.js";
import { until } from "../support/until.js";
import { BOTH, shell, startMount, type TestMount } from "./mounted.js";

/** Bytes that repeat nowhere near, so that a misplaced piece is noticed. */
function pattern(length: number, seed = 1): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let i = 0, x = seed; i < words.length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    words[i] = x;
  }
  return Buffer.from(words.buffer, 0, length);
}

for (const binding of BOTH) {
  describe(`fuse mount (${binding}): what programs do to files`, function () {
    this.timeout(300_000);
    let mount: TestMount;
    let dir: string;

    before(async () => {
      mount = await startMount({ binding });
      dir = mount.dir;
    });
    after(() => mount?.remove());

    it("writes and reads files of all sizes", async () => {
      for (const size of [0, 1, 4095, 131_072, 131_073, 3 << 20, (5 << 20) + 17]) {
        const data = pattern(size, size + 1);
        await fs.writeFile(join(dir, "sized"), data);
        expect((await fs.readFile(join(dir, "sized"))).equals(data), `${size} bytes`).to.equal(true);
        expect((await fs.stat(join(dir, "sized"))).size).to.equal(size);
      }
    });

    it("has the kernel read ahead as far as suits the binding", async () => {
      const { device } = (await mountAt(dir))!;
      const wanted = binding === "kernel" ? 4096 : 1024;
      // It is set just after the mount is there.
      const isSet = async () => Number(await fs.readFile(`/sys/class/bdi/${device}/read_ahead_kb`, "utf8")) === wanted;
      await until(isSet, { timeoutMs: 10_000, what: `a read-ahead of ${wanted} KiB` });
    });

    it("writes anywhere in a file, and reads holes as zeros", async () => {
      const file = await fs.open(join(dir, "anywhere"), "w+");
      const model = Buffer.alloc(1_500_000);
      for (const [i, at] of [900_001, 0, 131_070, 450_000, 1_499_000, 131_071].entries()) {
        const data = pattern(1000, i);
        await file.write(data, 0, data.length, at);
        data.copy(model, at);
      }
      const seen = Buffer.alloc(model.length);
      await file.read(seen, 0, seen.length, 0);
      await file.close();
      expect(seen.equals(model)).to.equal(true);
      expect((await fs.readFile(join(dir, "anywhere"))).equals(model)).to.equal(true);
    });

    it("takes setuid from a file that another truncates as he opens it, and not from one of which he changes nothing", async () => {
      await shell("echo abc > privileged && chmod 4777 privileged", dir);
      const as = "setpriv --reuid 1234 --regid 2345 --clear-groups";
      const chown = `${as} python3 -c 'import os; os.chown("privileged", -1, -1)' 2>/dev/null || true`;
      await shell(chown, dir);
      expect(await shell("stat -c %a privileged", dir)).to.equal("4777\n");
      await shell(`${as} sh -c ': > privileged'`, dir);
      expect(await shell("stat -c '%a %s' privileged", dir)).to.equal("777 0\n");
    });

    it("appends with O_APPEND, from several processes at once", async () => {
      await shell("for p in 1 2 3 4; do (for i in $(seq 50); do echo line-$p-$i >> log; done) & done; wait", dir);
      const lines = (await fs.readFile(join(dir, "log"), "utf8")).trim().split("\n");
      expect(new Set(lines).size).to.equal(200);
    });

    it("truncates and extends", async () => {
      const path = join(dir, "cut");
      await fs.writeFile(path, "0123456789");
      await fs.truncate(path, 4);
      expect(await fs.readFile(path, "utf8")).to.equal("0123");
      await fs.truncate(path, 6);
      expect(await fs.readFile(path, "utf8")).to.equal("0123\0\0");
      const file = await fs.open(path, "r+");
      await file.write("xyz", 6);
      await file.truncate(8);
      expect((await file.stat()).size).to.equal(8);
      await file.close();
      expect(await fs.readFile(path, "utf8")).to.equal("0123\0\0xy");
      await fs.writeFile(path, "new");
      expect(await fs.readFile(path, "utf8")).to.equal("new");
      await shell("truncate -s 5T sparse && test $(stat -c %s sparse) = 5497558138880", dir);
    });

    it("shows unfinished writes to other descriptors and to stat", async () => {
      const path = join(dir, "shared");
      const writer = await fs.open(path, "w");
      await writer.write("hello");
      expect(await fs.readFile(path, "utf8")).to.equal("hello");
      expect((await fs.stat(path)).size).to.equal(5);
      await writer.write(" world");
      expect((await fs.stat(path)).size).to.equal(11);
      await writer.sync();
      await writer.close();
      expect(await fs.readFile(path, "utf8")).to.equal("hello world");
    });

    it("keeps an unlinked file while it is open, and lets its directory go afterwards", async () => {
      await fs.mkdir(join(dir, "gone"));
      const file = await fs.open(join(dir, "gone/f"), "w+");
      await file.write("still here");
      await fs.unlink(join(dir, "gone/f"));
      expect((await rejection(fs.stat(join(dir, "gone/f")))).code).to.equal("ENOENT");
      await file.write("!", 10);
      expect((await file.read(Buffer.alloc(20), 0, 20, 0)).buffer.toString("utf8", 0, 11)).to.equal("still here!");
      expect((await file.stat()).size).to.equal(11);
      await file.close();
      // The kernel tells of the last close after it has happened.
      const removed = () =>
        fs.rmdir(join(dir, "gone")).then(
          () => true,
          () => false,
        );
      await until(removed, { what: "the directory to be empty" });
    });

    it("maps files into memory", async () => {
      await shell(
        `python3 -c '
import mmap
open("mapped", "wb").write(b"a" * 300000)
with open("mapped", "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
    m[131070:131076] = b"xxxxxx"
data = open("mapped", "rb").read()
assert data == b"a" * 131070 + b"xxxxxx" + b"a" * (300000 - 131076)
'`,
        dir,
      );
    });

    it("serves readers and writers at the same time", async () => {
      await Promise.all(
        Array.from({ length: 24 }, async (_, i) => {
          const data = pattern(400_000, i);
          const path = join(dir, `parallel-${i}`);
          await fs.writeFile(path, data);
          for (let n = 0; n < 3; n++) expect((await fs.readFile(path)).equals(data)).to.equal(true);
        }),
      );
    });

    it("copies a tree with cp -a and tar, times and modes included", async () => {
      await shell("mkdir src && cd src && mkdir -p a/b && echo 1 > a/one && echo 2 > a/b/two && ln -s one a/link", dir);
      await shell("touch -m -d '2001-02-03 04:05:06.123456789' src/a/one && touch -a -d '1999-01-01' src/a/one", dir);
      await shell(
        "chmod 751 src/a && touch -d '1965-05-05 05:05:05.5' src/a/b/two && touch -d 1980-01-01 src/a/b",
        dir,
      );
      await shell("cp -a src copy && diff -r src copy && tar c src | (mkdir un && tar x -C un)", dir);
      for (const name of ["a", "a/one", "a/b/two", "a/b", "a/link"]) {
        const [from, to] = await Promise.all(
          ["src", "copy"].map((top) => fs.lstat(join(dir, top, name), { bigint: true })),
        );
        expect(to!.mtimeNs, name).to.equal(from!.mtimeNs);
        expect(to!.mode, name).to.equal(from!.mode);
      }
      const one = await fs.stat(join(dir, "un/src/a/one"), { bigint: true });
      expect(one.mtimeNs / 1_000_000_000n).to.equal(981_173_106n);
      expect((await fs.stat(join(dir, "src/a/one"), { bigint: true })).mtimeNs).to.equal(981_173_106_123_456_789n);
    });
  });

  describe(`fuse mount (${binding}): what programs do to names`, function () {
    this.timeout(300_000);
    let mount: TestMount;
    let dir: string;

    before(async () => {
      mount = await startMount({ binding });
      dir = mount.dir;
    });
    after(() => mount?.remove());

    it("makes and removes directories", async () => {
      await fs.mkdir(join(dir, "d/e/f"), { recursive: true });
      expect((await fs.stat(join(dir, "d"))).nlink).to.equal(3);
      expect((await rejection(fs.rmdir(join(dir, "d/e")))).code).to.equal("ENOTEMPTY");
      expect((await rejection(fs.mkdir(join(dir, "d/e")))).code).to.equal("EEXIST");
      expect((await rejection(fs.unlink(join(dir, "d/e")))).code).to.equal("EISDIR");
      await fs.rmdir(join(dir, "d/e/f"));
      await fs.rm(join(dir, "d"), { recursive: true });
      expect((await rejection(fs.stat(join(dir, "d")))).code).to.equal("ENOENT");
    });

    it("renames over what is there", async () => {
      await fs.writeFile(join(dir, "from"), "new");
      await fs.writeFile(join(dir, "to"), "old");
      const old = await fs.open(join(dir, "to"), "r");
      const { ino } = await fs.stat(join(dir, "from"));
      await fs.rename(join(dir, "from"), join(dir, "to"));
      expect(await fs.readFile(join(dir, "to"), "utf8")).to.equal("new");
      expect((await fs.stat(join(dir, "to"))).ino).to.equal(ino);
      expect(await old.readFile("utf8")).to.equal("old");
      await old.close();
      await fs.mkdir(join(dir, "full/x"), { recursive: true });
      await fs.mkdir(join(dir, "empty"));
      expect((await rejection(fs.rename(join(dir, "empty"), join(dir, "full")))).code).to.equal("ENOTEMPTY");
      await fs.rename(join(dir, "full"), join(dir, "empty"));
      expect(await fs.readdir(join(dir, "empty"))).to.deep.equal(["x"]);
      expect((await rejection(fs.rename(join(dir, "empty"), join(dir, "empty/x/y")))).code).to.equal("EINVAL");
    });

    it("links, hard and symbolic", async () => {
      await fs.writeFile(join(dir, "first"), "abc");
      await fs.link(join(dir, "first"), join(dir, "second"));
      const [a, b] = await Promise.all([fs.stat(join(dir, "first")), fs.stat(join(dir, "second"))]);
      expect([a.ino, a.nlink, b.nlink]).to.deep.equal([b.ino, 2, 2]);
      await fs.unlink(join(dir, "first"));
      // To libfuse 2 the two names are two files, whose attributes the kernel believes for a while.
      const alone = async () => (await fs.stat(join(dir, "second"))).nlink === 1;
      await until(alone, { what: "the other name to notice" });
      const target = Buffer.concat([Buffer.from("x/"), Buffer.alloc(4093, "y")]);
      await fs.symlink(target, join(dir, "soft"));
      expect(await fs.readlink(join(dir, "soft"), "buffer")).to.deep.equal(target);
      await fs.symlink("second", join(dir, "near"));
      expect(await fs.readFile(join(dir, "near"), "utf8")).to.equal("abc");
    });

    it("sets mode, owner and times", async () => {
      const path = join(dir, "attributes");
      await fs.writeFile(path, "");
      await fs.chmod(path, 0o4751);
      await fs.chown(path, 1234, 4_000_000_000);
      const stats = await fs.stat(path);
      expect([stats.uid, stats.gid]).to.deep.equal([1234, 4_000_000_000]);
      await fs.chown(path, 0, 0);
      await fs.chmod(path, 0o4751);
      expect((await fs.stat(path)).mode & 0o7777).to.equal(0o4751);
      await fs.utimes(path, 1_000_000_000.25, 12.5);
      const { atimeNs, mtimeNs } = await fs.stat(path, { bigint: true });
      expect(atimeNs).to.equal(1_000_000_000_250_000_000n);
      expect(mtimeNs).to.equal(12_500_000_000n);
      await shell(`touch -a ${path}`);
      expect((await fs.stat(path, { bigint: true })).mtimeNs).to.equal(12_500_000_000n);
      expect((await fs.stat(path)).atimeMs).to.be.closeTo(Date.now(), 60_000);
    });

    it("makes files the caller's, and has the kernel check permissions", async () => {
      await shell("mkdir pub && chmod 777 pub && mkdir -m 700 private && echo secret > private/s", dir);
      const as = "setpriv --reuid 1234 --regid 2345 --clear-groups";
      await shell(`cd pub && ${as} touch f && ${as} mkdir d && ${as} ln -s x l && ${as} mkfifo p`, dir);
      for (const name of ["f", "d", "l", "p"]) {
        const { uid, gid } = await fs.lstat(join(dir, "pub", name));
        expect([uid, gid], name).to.deep.equal([1234, 2345]);
      }
      expect((await rejection(shell(`${as} cat private/s`, dir))).message).to.match(/Permission denied/);
      expect((await rejection(shell(`${as} touch no`, dir))).message).to.match(/Permission denied/);
    });

    it("makes FIFOs, sockets' names and devices", async () => {
      await shell("mkfifo fifo && mknod null c 1 3 && mknod disk b 259 70000", dir);
      expect((await fs.stat(join(dir, "fifo"))).isFIFO()).to.equal(true);
      expect(await shell("stat -c '%F %t %T' null disk", dir)).to.equal(
        "character special file 1 3\nblock special file 103 11170\n",
      );
      expect(await shell("(echo through > fifo &) ; cat fifo", dir)).to.equal("through\n");
    });

    it("keeps names as bytes, up to 255 of them", async () => {
      const odd = Buffer.from([0x66, 0xff, 0xfe, 0x80, 0x0a, 0x5c, 0x2c]);
      const root = Buffer.from(`${dir}/odd/`);
      await fs.mkdir(root);
      await fs.writeFile(Buffer.concat([root, odd]), "x");
      await fs.writeFile(join(dir, "odd/grüße"), "y");
      const names = await fs.readdir(root, "buffer");
      expect(names.map((n) => n.toString("hex")).sort()).to.deep.equal(
        [odd.toString("hex"), Buffer.from("grüße").toString("hex")].sort(),
      );
      expect(await fs.readFile(Buffer.concat([root, odd]), "utf8")).to.equal("x");
      await fs.writeFile(join(dir, "x".repeat(255)), "long");
      expect(await fs.readFile(join(dir, "x".repeat(255)), "utf8")).to.equal("long");
      for (const attempt of [
        fs.writeFile(join(dir, "x".repeat(256)), ""),
        fs.mkdir(join(dir, "x".repeat(256))),
        fs.stat(join(dir, "x".repeat(256))),
      ]) {
        expect((await rejection(attempt)).code).to.equal("ENAMETOOLONG");
      }
    });

    it("answers many at once, each with its own", async () => {
      await fs.mkdir(join(dir, "own"));
      const names = Array.from({ length: 100 }, (_, i) => join(dir, "own", String(i)));
      await Promise.all(names.map((path, i) => fs.writeFile(path, "x".repeat(i))));
      for (let round = 0; round < 5; round++) {
        const stats = await Promise.all(names.map((path) => fs.stat(path)));
        expect(stats.map((s) => s.size)).to.deep.equal(names.map((_, i) => i));
        expect(new Set(stats.map((s) => s.ino)).size).to.equal(names.length);
        await Promise.all(names.map((path, i) => fs.utimes(path, i, round)));
      }
    });

    it("keeps extended attributes", async () => {
      await shell(
        `python3 -c '
import os, errno
open("x", "w").close()
os.setxattr("x", "user.a", b"1\\0\\xff")
os.setxattr("x", "user.b", b"")
assert os.getxattr("x", "user.a") == b"1\\0\\xff"
assert os.getxattr("x", "user.b") == b""
assert sorted(os.listxattr("x")) == ["user.a", "user.b"]
for flags, want in ((os.XATTR_CREATE, errno.EEXIST), ):
    try: os.setxattr("x", "user.a", b"2", flags); assert False
    except OSError as e: assert e.errno == want
os.removexattr("x", "user.a")
try: os.getxattr("x", "user.a"); assert False
except OSError as e: assert e.errno == errno.ENODATA
os.setxattr("x", "user.big", b"v" * 60000)
assert os.getxattr("x", "user.big") == b"v" * 60000
'`,
        dir,
      );
    });

    it("shows df the space of the cluster", async () => {
      const s = await fs.statfs(dir);
      expect(s.blocks * s.bsize).to.equal(10 * 2 ** 30);
      expect(await shell(`df --output=source,fstype ${dir} | tail -1`)).to.match(/^memory\s+fuse\.cairn/);
      expect((await fs.access(dir, constants.W_OK)) ?? true).to.equal(true);
    });
  });

  describe(`fuse mount (${binding}): a large directory`, function () {
    this.timeout(300_000);
    const count = 20_000;
    let mount: TestMount;

    before(async () => {
      mount = await startMount({ binding, populate: count });
    });
    after(() => mount?.remove());

    it("lists every entry once, also while they are removed", async () => {
      const names = await fs.readdir(mount.dir);
      expect(names.length).to.equal(count);
      expect(new Set(names).size).to.equal(count);
      expect((await shell("ls -a | wc -l", mount.dir)).trim()).to.equal(String(count + 2));
      await shell("rm f000* f0199*", mount.dir);
      expect((await fs.readdir(mount.dir)).length).to.equal(count - 1100);
      await shell("find . -name 'f001*' -delete", mount.dir);
      expect((await fs.readdir(mount.dir)).length).to.equal(count - 2100);
    });
  });

  describe(`fuse mount (${binding}): other clients`, function () {
    this.timeout(300_000);
    let mount: TestMount;

    before(async () => {
      mount = await startMount({ binding, cacheMs: 60_000 });
    });
    after(() => mount?.remove());

    it("reads what another has appended by the time of open, whatever the kernel still believes", async () => {
      const path = join(mount.dir, "foreign");
      await fs.writeFile(path, "mine");
      expect(await fs.readFile(path, "utf8")).to.equal("mine");
      expect((await fs.stat(path)).size).to.equal(4);
      mount.server.kill("SIGUSR1");
      const done = async () => (await fs.readdir(mount.dir)).includes("done");
      await until(done, { what: "the other client" });
      expect(await shell(`cat '${path}'`)).to.equal("mine+foreign");
    });
  });
}
