// What only the kernel binding can do, on a real mount.
import * as fs from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { RealClock } from "../../../common/clock.js";
import { unmount } from "../../../fuse/umount.js";
import { rejection } from "../../support/rejection.js";
import { until } from "../../support/until.js";
import { countProcesses, shell, startMount, type TestMount } from "../mounted.js";

/** Runs a Python program in a directory. */
function python(program: string, cwd: string): Promise<string> {
  return shell(`python3 - <<'END'\nimport ctypes, errno, os\n${program}\nEND`, cwd);
}

/** renameat2(2), which Python lacks. */
const RENAMEAT2 = `
libc = ctypes.CDLL(None, use_errno=True)
def renameat2(a, b, flags):
    if libc.renameat2(-100, a.encode(), -100, b.encode(), flags) != 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))
def fails(code, f, *args):
    try: f(*args)
    except OSError as e: assert e.errno == code, e
    else: assert False, "no error"
`;

describe("fuse kernel: on a real mount", function () {
  this.timeout(300_000);
  let mount: TestMount;
  let dir: string;

  before(async () => {
    mount = await startMount({ binding: "kernel", cacheMs: 60_000 });
    dir = mount.dir;
  });
  after(() => mount?.remove());

  /** What the server says of the largest requests so far, and of removed inodes. */
  async function facts(): Promise<string> {
    for (const name of await fs.readdir(dir)) if (name.startsWith("read-")) await fs.unlink(join(dir, name));
    mount.server.kill("SIGUSR2");
    let found: string | undefined;
    await until(
      async () => {
        found = (await fs.readdir(dir)).find((name) => name.startsWith("read-"));
        return found !== undefined;
      },
      { what: "the server's facts" },
    );
    return found!;
  }

  it("reads and writes a MiB at once", async () => {
    await shell("dd if=/dev/zero of=big bs=1M count=16 2>&1", dir);
    await shell("echo 1 > /proc/sys/vm/drop_caches; cat big > /dev/null", dir);
    expect(await facts()).to.match(/^read-1048576,write-1048576,/);
  });

  it("keeps an open file without its name: readable, writable, with nothing left afterwards", async () => {
    await python(
      `
f = os.open("lost", os.O_CREAT | os.O_RDWR)
os.write(f, b"a" * 5000)
os.unlink("lost")
assert os.fstat(f).st_nlink == 0
os.pwrite(f, b"b" * 5000, 5000)
os.fsync(f)
os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)
assert os.pread(f, 20000, 0) == b"a" * 5000 + b"b" * 5000
os.ftruncate(f, 3)
os.fchmod(f, 0o600)
s = os.fstat(f)
assert (s.st_size, s.st_nlink, s.st_mode & 0o777) == (3, 0, 0o600), s
assert "lost" not in os.listdir(".")
`,
      dir,
    );
    await until(async () => (await facts()).endsWith("held-0"), { what: "the removed file to be given up" });
  });

  it("keeps an open file that a rename replaced, and an open directory that was removed", async () => {
    await python(
      `
f = os.open("old", os.O_CREAT | os.O_RDWR)
os.write(f, b"old")
with open("new", "w") as n: n.write("new")
os.rename("new", "old")
assert os.pread(f, 9, 0) == b"old"
assert os.fstat(f).st_nlink == 0
assert open("old").read() == "new"
os.mkdir("rd")
d = os.open("rd", os.O_RDONLY)
os.rmdir("rd")
assert os.fstat(d).st_nlink == 0
assert os.listdir(d) == []
`,
      dir,
    );
    await until(async () => (await facts()).endsWith("held-0"), { what: "what was removed to be given up" });
  });

  it("renames with NOREPLACE and EXCHANGE", async () => {
    await python(
      `${RENAMEAT2}
open("one", "w").write("1")
os.mkdir("two")
open("two/inside", "w").write("2")
fails(errno.EEXIST, renameat2, "one", "two", 1)
renameat2("one", "two", 2)
assert open("two").read() == "1"
assert open("one/inside").read() == "2"
fails(errno.ENOENT, renameat2, "two", "three", 2)
renameat2("two", "three", 1)
assert open("three").read() == "1"
fails(errno.EINVAL, renameat2, "three", "four", 3)
`,
      dir,
    );
  });

  it("shows one inode under all its names at once", async () => {
    await python(
      `
f = os.open("h1", os.O_CREAT | os.O_RDWR)
os.link("h1", "h2")
assert os.stat("h1").st_nlink == 2 and os.stat("h1").st_ino == os.stat("h2").st_ino
os.write(f, b"through h1")
assert open("h2").read() == "through h1" and os.stat("h2").st_size == 10
os.chmod("h2", 0o4711)
assert os.stat("h1").st_mode & 0o7777 == 0o4711
os.unlink("h1")
assert os.stat("h2").st_nlink == 1
assert os.fstat(f).st_nlink == 1
os.write(f, b", still")
assert open("h2").read() == "through h1, still"
`,
      dir,
    );
  });

  it("keeps times to the nanosecond, before 1970 too", async () => {
    await python(
      `
open("times", "w").close()
os.utime("times", ns=(-1_500_000_001, 2_000_000_000_123_456_789))
s = os.stat("times")
assert (s.st_atime_ns, s.st_mtime_ns) == (-1_500_000_001, 2_000_000_000_123_456_789), s
before = s.st_ctime_ns
os.utime("times", ns=(5, 6))
assert os.stat("times").st_ctime_ns > before
f = os.open("times", os.O_WRONLY)
os.write(f, b"x")
assert os.fstat(f).st_mtime_ns > 6
os.utime(f, ns=(7, 8))
os.close(f)
assert os.stat("times").st_mtime_ns == 8
`,
      dir,
    );
  });

  it("appends through two handles, and creates exclusively", async () => {
    await python(
      `
a = os.open("log", os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_EXCL)
b = os.open("log", os.O_WRONLY | os.O_APPEND)
want = b""
for i in range(100):
    for f in (a, b):
        line = b"%d %d\\n" % (f, i)
        os.write(f, line)
        want += line
assert open("log", "rb").read() == want
try: os.open("log", os.O_CREAT | os.O_EXCL)
except FileExistsError: pass
else: assert False
`,
      dir,
    );
  });

  it("keeps a mapping's pages in their place while the file is open for appending", async () => {
    await python(
      `
import mmap
open("mapped", "w").write("x" * 5000)
a = os.open("mapped", os.O_RDWR | os.O_APPEND)
m = mmap.mmap(a, 5000)
m[0:3] = b"abc"
m.flush()
assert os.fstat(a).st_size == 5000
os.write(a, b"end")
assert open("mapped").read() == "abc" + "x" * 4997 + "end"
`,
      dir,
    );
  });

  it("takes setuid and setgid from a file that another writes, truncates or owns", async () => {
    const as = "setpriv --reuid 1234 --regid 2345 --clear-groups";
    for (const command of [
      `${as} sh -c 'echo x >> s'`,
      `${as} sh -c ': > s'`,
      `${as} truncate -s 1 s`,
      "chown 7:7 s",
    ]) {
      await shell("rm -f s && echo abc > s && chmod 6777 s && stat s", dir);
      await shell(command, dir);
      expect(await shell("stat -c %a s", dir), command).to.equal("777\n");
    }
    await shell("rm -f s && echo abc > s && chmod 6777 s && echo x >> s", dir);
    expect(await shell("stat -c %a s", dir)).to.equal("6777\n");
  });

  it("takes capabilities from a file that is written", async () => {
    await python(
      `
open("capable", "w").close()
os.setxattr("capable", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
assert os.listxattr("capable") == ["security.capability"]
with open("capable", "a") as f: f.write("x")
assert os.listxattr("capable") == []
`,
      dir,
    );
  });

  it("has the limits of extended attributes, and their errors", async () => {
    await python(
      `${RENAMEAT2}
open("x", "w").close()
big = bytes(range(256)) * 256
os.setxattr("x", "user.big", big)
assert os.getxattr("x", "user.big") == big
fails(errno.E2BIG, os.setxattr, "x", "user.more", big + b"x")
os.setxattr("x", "user.none", b"")
assert os.getxattr("x", "user.none") == b""
fails(errno.EEXIST, os.setxattr, "x", "user.big", b"", os.XATTR_CREATE)
fails(errno.ENODATA, os.setxattr, "x", "user.absent", b"", os.XATTR_REPLACE)
fails(errno.ENODATA, os.getxattr, "x", "user.absent")
fails(errno.ENODATA, os.removexattr, "x", "user.absent")
fails(errno.ERANGE, os.setxattr, "x", "user." + "n" * 251, b"")
acl = bytes.fromhex("0200000001000600ffffffff04000400ffffffff20000400ffffffff")
for path, name in (("x", "system.posix_acl_access"), (".", "system.posix_acl_default")):
    fails(errno.EOPNOTSUPP, os.setxattr, path, name, acl)
fails(errno.EOPNOTSUPP, os.setxattr, "x", "system.other", b"")
def call(f, *args):
    size = f(*args)
    if size < 0: raise OSError(ctypes.get_errno(), "")
    return size
for room in (1, 65535): fails(errno.ERANGE, call, libc.getxattr, b"x", b"user.big", ctypes.create_string_buffer(room), room)
assert call(libc.getxattr, b"x", b"user.big", None, 0) == 65536
for i in range(300): os.setxattr("x", "user.%0200d" % i, b"v")
names = os.listxattr("x")
assert len(names) == 302, len(names)
length = sum(len(n) + 1 for n in names)
assert call(libc.listxattr, b"x", None, 0) == length
fails(errno.ERANGE, call, libc.listxattr, b"x", ctypes.create_string_buffer(length - 1), length - 1)
for n in names: os.removexattr("x", n)
assert os.listxattr("x") == []
`,
      dir,
    );
  });

  it("keeps times before 1970, and long after 2038", async () => {
    await python(
      `
open("t", "w").close()
for sec in (-1, -2**31 - 1, 0, 2**31, 2**32, 2**34, 2**40):
    for nsec in (0, 1, 999999999):
        want = (sec * 10**9 + nsec, (sec - 7) * 10**9 + nsec)
        os.utime("t", ns=want)
        s = os.stat("t")
        assert (s.st_atime_ns, s.st_mtime_ns) == want, (sec, nsec, s)
`,
      dir,
    );
  });

  it("goes on in a directory where seekdir says, while names go", async () => {
    await fs.mkdir(join(dir, "many"));
    await python(
      `
for i in range(3000): os.mkdir("many/%04d" % i)
libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
libc.telldir.restype = ctypes.c_long
libc.telldir.argtypes = libc.readdir.argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
d = libc.opendir(b"many")
def next():
    e = libc.readdir(d)
    return None if not e else ctypes.string_at(e + 19).decode()
seen = []
while True:
    at = libc.telldir(d)
    name = next()
    if name is None: break
    seen.append((at, name))
names = [n for _, n in seen]
assert len(names) == 3002 and len(set(names)) == 3002
for i in (2999, 5, 0, 1234, 3001, 1, 999, 1000, 1001):
    libc.seekdir(d, seen[i][0])
    assert next() == seen[i][1], i
libc.seekdir(d, at)
assert next() is None
`,
      dir,
    );
    expect((await shell("ls many | wc -l", dir)).trim()).to.equal("3000");
  });

  it("reads what another client has written, from the next open on", async () => {
    await fs.writeFile(join(dir, "foreign"), "mine");
    expect(await fs.readFile(join(dir, "foreign"), "utf8")).to.equal("mine");
    const early = await fs.open(join(dir, "foreign"), "r");
    mount.server.kill("SIGUSR1");
    await until(async () => (await fs.readdir(dir)).includes("done"), { what: "the other client" });
    expect(await shell("cat foreign; stat -c ' %s' foreign", dir)).to.equal("mine+foreign 12\n");
    await shell(
      'python3 -c \'import mmap; f = open("foreign", "rb"); assert mmap.mmap(f.fileno(), 0, prot=1)[:] == b"mine+foreign"\'',
      dir,
    );
    await early.close();
  });
});

describe("fuse kernel: a server that does not answer", function () {
  this.timeout(300_000);
  let mount: TestMount | undefined;
  afterEach(() => mount?.remove());

  it("lets a program go that is interrupted", async () => {
    mount = await startMount({ binding: "kernel", hang: "getXattr" });
    await python('open("f", "w").close(); os.setxattr("f", "user.a", b"1")', mount.dir);
    const path = join(mount.dir, "f");
    const program = `import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.getxattr(sys.argv[1], "user.a")`;
    const ended = shell(`timeout -s INT 1 python3 -c '${program}' '${path}' || echo ended with $?`);
    await until(() => countProcesses(path), { what: "the program to wait" });
    expect(await ended).to.equal("ended with 124\n");
    expect(await shell(`cat '${path}' && echo alive`)).to.equal("alive\n");
  });
});

describe("fuse kernel: a server that dies while a thread of it hangs in the kernel", function () {
  this.timeout(300_000);
  let mount: TestMount | undefined;
  afterEach(() => mount?.remove());

  it("keeps nobody waiting, and is mended by an unmount", async () => {
    mount = await startMount({ binding: "kernel", hang: "read" });
    const { dir, server } = mount;
    const path = join(dir, "foreign");
    await until(() => countProcesses(`guard of ${dir}`), { what: "a guard" });
    await shell("truncate -s 4096 foreign", dir);
    const reader = shell(`exec cat '${path}'`).catch((err: Error) => err);
    await until(() => countProcesses(path), { what: "a program to read" });
    // The file's pages are to be forgotten, which waits for the reader, which waits for the server.
    server.kill("SIGUSR1");
    await until(() => hangs(server.pid!), { what: "a thread of the server to hang" });
    server.kill("SIGKILL");
    expect(String(await reader)).to.match(/cat: /);
    await mount.exited;
    expect((await rejection(fs.stat(path))).code).to.equal("ENOTCONN");
    await unmount(dir, { clock: new RealClock() });
    expect(await fs.readdir(dir)).to.deep.equal([]);
    await until(async () => (await countProcesses(`guard of ${dir}`)) === 0, { what: "the guard to go" });
  });

  /** Whether a thread of a process is in a wait that no signal ends. */
  async function hangs(pid: number): Promise<boolean> {
    const tasks = await fs.readdir(`/proc/${pid}/task`);
    const stats = tasks.map((task) => fs.readFile(`/proc/${pid}/task/${task}/stat`, "latin1").catch(() => ""));
    return (await Promise.all(stats)).some((stat) => /\) D /.test(stat));
  }
});

describe("fuse kernel: a directory of 100,000 entries", function () {
  this.timeout(300_000);
  const count = 100_000;
  let mount: TestMount | undefined;
  after(() => mount?.remove());

  it("is listed whole and once, and goes on where seekdir says", async () => {
    mount = await startMount({ binding: "kernel", populate: count });
    await python(
      `
libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
libc.telldir.restype = ctypes.c_long
libc.telldir.argtypes = libc.readdir.argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
d = libc.opendir(b".")
def next():
    e = libc.readdir(d)
    return None if not e else ctypes.string_at(e + 19).decode()
seen = []
while True:
    at = libc.telldir(d)
    name = next()
    if name is None: break
    seen.append((at, name))
assert len(set(n for _, n in seen)) == len(seen) == ${count + 2}
for i in (99999, 3, 50000, 49999, 100001, 1, 77777):
    libc.seekdir(d, seen[i][0])
    assert next() == seen[i][1], i
`,
      mount.dir,
    );
    expect((await shell("ls -f | wc -l", mount.dir)).trim()).to.equal(String(count + 2));
  });
});

describe("fuse kernel: the guard", function () {
  this.timeout(300_000);

  it("is there while the mount lasts, and goes with it, however it ends", async () => {
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      const mount = await startMount({ binding: "kernel" });
      try {
        const guards = () => countProcesses(`guard of ${mount.dir}`);
        await until(async () => (await guards()) === 1, { what: "a guard" });
        mount.server.kill(signal);
        await mount.exited;
        await until(async () => (await guards()) === 0, { what: "the guard to go" });
      } finally {
        await mount.remove();
      }
    }
  });
});

describe("fuse kernel: which binding", function () {
  this.timeout(300_000);
  let mount: TestMount | undefined;
  afterEach(() => mount?.remove());
  const isNative = async ({ dir }: TestMount) =>
    (await shell(`grep ' ${dir} ' /proc/self/mountinfo`)).includes("max_read=");

  it("is the kernel's for root", async () => {
    mount = await startMount({ binding: "auto" });
    expect(await isNative(mount)).to.equal(false);
    await fs.writeFile(join(mount.dir, "f"), "x");
  });

  it("is fuse-native where mount(8) is missing; asking for the kernel's says why it cannot be", async () => {
    const { PATH } = process.env;
    process.env["PATH"] = "/nonexistent";
    try {
      mount = await startMount({ binding: "auto" });
      const refused = await startMount({ binding: "kernel" });
      expect(await refused.exited).to.equal(1);
      expect(refused.said()).to.match(/mount\(8\)/);
      process.env["PATH"] = PATH;
      await refused.remove();
    } finally {
      process.env["PATH"] = PATH;
    }
    expect(await isNative(mount)).to.equal(true);
    await fs.writeFile(join(mount.dir, "f"), "x");
  });
});
