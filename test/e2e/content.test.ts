import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { requireFuse, TestCluster } from "../support/cluster.js";
import { run, sh } from "../support/run.js";
import { until } from "../support/until.js";

/** What Python lacks of Linux, and a few words for the programs below. */
const PRELUDE = `
import ctypes, errno, json, mmap, os, resource, signal, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
K = 65536
KEEP, PUNCH, COLLAPSE, ZERO = 1, 2, 8, 16
def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))
def fails(f, *args):
    try: f(*args)
    except OSError as e: return errno.errorcode[e.errno]
    return "ok"
def new(name, flags=0):
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC | flags, 0o644)
def fill(n, at=0):
    return bytes((i * 7 + at) % 251 for i in range(n))
def runs(fd):
    "Data of a file, as lseek finds it, in units of K."
    found, at, end = [], 0, os.fstat(fd).st_size
    while at < end:
        try: at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as e:
            assert e.errno == errno.ENXIO, e
            break
        hole = os.lseek(fd, at, os.SEEK_HOLE)
        found.append([at / K, hole / K])
        at = hole
    return found
def same(a, b):
    assert a == b, (repr(a)[:200], repr(b)[:200])
`;

/** Programs, with what they must see; every one was seen to pass on ext4 as well. */
const PROGRAMS: Record<string, string> = {
  "finds data and holes, also in what is not committed yet": `
fd = new("sparse")
same(fails(os.lseek, fd, 0, os.SEEK_DATA), "ENXIO")
same(fails(os.lseek, fd, 0, os.SEEK_HOLE), "ENXIO")
os.pwrite(fd, fill(K), 2 * K)
same(runs(fd), [[2, 3]])
os.fsync(fd)
os.pwrite(fd, fill(2 * K), 6 * K)
same(runs(fd), [[2, 3], [6, 8]])
os.pwrite(fd, fill(K), 3 * K)
same(runs(fd), [[2, 4], [6, 8]])
os.ftruncate(fd, 12 * K)
same(runs(fd), [[2, 4], [6, 8]])
same(os.lseek(fd, 9 * K, os.SEEK_HOLE), 9 * K)
same(os.lseek(fd, 2 * K + 5, os.SEEK_DATA), 2 * K + 5)
same(os.lseek(fd, 5, os.SEEK_HOLE), 5)
for at in (8 * K, 12 * K, 13 * K): same(fails(os.lseek, fd, at, os.SEEK_DATA), "ENXIO")
same(fails(os.lseek, fd, 12 * K, os.SEEK_HOLE), "ENXIO")
os.ftruncate(fd, 7 * K)
os.ftruncate(fd, 9 * K)
same(runs(fd), [[2, 4], [6, 7]])
`,
  "allocates, punches and zeroes": `
fd = new("allocated")
old = os.fstat(fd)
fallocate(fd, 0, 0, 3 * K)
same(os.fstat(fd).st_size, 3 * K)
same(os.pread(fd, 4 * K, 0), bytes(3 * K))
fallocate(fd, KEEP, 0, 9 * K)
same(os.fstat(fd).st_size, 3 * K)
data = fill(8 * K)
os.pwrite(fd, data, 0)
fallocate(fd, PUNCH | KEEP, K + 10, 3 * K)
same(os.fstat(fd).st_size, 8 * K)
same(os.pread(fd, 9 * K, 0), data[:K + 10] + bytes(3 * K) + data[4 * K + 10:])
same(os.lseek(fd, 2 * K, os.SEEK_DATA) // 4096, 4 * K // 4096)
fallocate(fd, PUNCH | KEEP, 7 * K, 100 * K)
same(os.fstat(fd).st_size, 8 * K)
fallocate(fd, ZERO | KEEP, 6 * K, 100 * K)
same(os.fstat(fd).st_size, 8 * K)
fallocate(fd, ZERO, 5 * K, 5 * K)
same(os.fstat(fd).st_size, 10 * K)
same(os.pread(fd, 99 * K, 0), data[:K + 10] + bytes(3 * K) + data[4 * K + 10:5 * K] + bytes(5 * K))
new_ = os.fstat(fd)
assert new_.st_mtime_ns > old.st_mtime_ns and new_.st_ctime_ns > old.st_ctime_ns
before = os.fstat(fd).st_mtime_ns
os.utime("allocated", ns=(0, 0))
fallocate(fd, PUNCH | KEEP, 0, K)
assert os.fstat(fd).st_mtime_ns >= before, "a punch is a modification"
same(fails(fallocate, fd, PUNCH, 0, K), "ENOTSUP")
same(fails(fallocate, fd, 0, 0, 0), "EINVAL")
same(fails(fallocate, fd, 0, 0, 1 << 45), "EFBIG")
same(fails(fallocate, os.open("allocated", os.O_RDONLY), 0, 0, K), "EBADF")
`,
  "copies ranges between and within files": `
src, dst = new("source"), new("target")
data = fill(4 * K)
os.pwrite(src, data[:K], 0)
os.fsync(src)
os.pwrite(src, data[K:2 * K], K)
os.pwrite(src, data[3 * K:], 3 * K)
os.pwrite(dst, fill(6 * K, 9), 0)
same(os.copy_file_range(src, dst, 99 * K, 100, K), 4 * K - 100)
want = fill(6 * K, 9)
want = want[:K] + data[100:2 * K] + bytes(K) + data[3 * K:] + want[5 * K - 100:]
same(os.pread(dst, 9 * K, 0), want)
same(os.copy_file_range(src, dst, K, 4 * K, 0), 0)
same(os.copy_file_range(dst, dst, K, 0, 5 * K), K)
same(os.pread(dst, 9 * K, 0), want[:5 * K] + want[:K])
same(fails(os.copy_file_range, dst, dst, 2 * K, 0, K), "EINVAL")
same(fails(os.copy_file_range, src, os.open("target", os.O_RDONLY), K, 0, 0), "EBADF")
same(fails(os.copy_file_range, src, os.open("target", os.O_WRONLY | os.O_APPEND), K, 0, 0), "EBADF")
# A copy does not change with its source, nor when that is gone.
os.pwrite(src, bytes(4 * K), 0)
os.unlink("source")
os.close(src)
os.fsync(dst)
same(open("target", "rb").read(), want[:5 * K] + want[:K])
`,
  "reads and writes past the page cache with O_DIRECT": `
fd = new("direct", os.O_DIRECT)
block = mmap.mmap(-1, K)
block[:] = fill(K)
same(os.pwritev(fd, [block], K), K)
block[:] = bytes(K)
same(os.preadv(fd, [block], K), K)
same(block[:], fill(K))
cached = os.open("direct", os.O_RDWR)
os.pwrite(cached, b"x" * 4096, K)
same(os.preadv(fd, [block], K), K)
same(block[:4096], b"x" * 4096)
same(os.pread(cached, 2 * K, 0), bytes(K) + b"x" * 4096 + fill(K)[4096:])
`,
  "appends of several descriptors and processes never overwrite one another": `
def work(who):
    fd = os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for i in range(100):
        line = f"{who} {i} ".encode() + b"." * (i * 13 % 200) + b"\\n"
        same(os.write(fd, line), len(line))
    os.close(fd)
children = []
for child in range(3):
    pid = os.fork()
    if pid == 0:
        threads = [threading.Thread(target=work, args=(f"{child}-{n}",)) for n in range(2)]
        for t in threads: t.start()
        for t in threads: t.join()
        os._exit(0)
    children.append(pid)
for pid in children: same(os.waitpid(pid, 0)[1], 0)
lines = open("log").read().split("\\n")[:-1]
same(sorted(l.rstrip(".").strip() for l in lines), sorted(f"{c}-{n} {i}" for c in range(3) for n in range(2) for i in range(100)))
fd = os.open("log", os.O_RDWR | os.O_APPEND)
size = os.fstat(fd).st_size
os.pwrite(fd, b"tail", 0)
same(os.pread(fd, 9, size), b"tail")
os.ftruncate(fd, 3)
os.write(fd, b"end")
same(open("log", "rb").read()[3:], b"end")
`,
  "writes with O_SYNC and O_DSYNC": `
for flag in (os.O_SYNC, os.O_DSYNC):
    fd = new("synced", flag)
    for i in range(5): same(os.pwrite(fd, fill(1000, i), i * 1000), 1000)
    same(open("synced", "rb").read(), b"".join(fill(1000, i) for i in range(5)))
    os.close(fd)
`,
  "truncates over holes and what is not committed": `
fd = new("cut")
data = fill(5 * K)
os.pwrite(fd, data, K)
os.ftruncate(fd, 3 * K + 7)
same(os.fstat(fd).st_size, 3 * K + 7)
os.ftruncate(fd, 9 * K)
want = bytes(K) + data[:2 * K + 7] + bytes(6 * K - 7)
same(os.pread(fd, 10 * K, 0), want)
os.pwrite(fd, b"abc", 8 * K)
os.fsync(fd)
os.ftruncate(fd, 8 * K + 2)
os.pwrite(fd, b"z", 10 * K)
same(os.pread(fd, 11 * K, 0), want[:8 * K] + b"ab" + bytes(2 * K - 2) + b"z")
os.ftruncate(fd, 0)
same(os.pread(fd, 10, 0), b"")
os.pwrite(fd, b"q", 5)
same(open("cut", "rb").read(), bytes(5) + b"q")
`,
  "keeps files of nearly 16 TiB, and no longer ones": `
T = 1 << 44
fd = new("huge")
same(os.pwrite(fd, b"end", T - 2 * K), 3)
same(os.pread(fd, 9, T - 2 * K - 3), bytes(3) + b"end")
same(os.lseek(fd, 0, os.SEEK_DATA) // K, T // K - 2)
same(os.fstat(fd).st_size, T - 2 * K + 3)
assert os.fstat(fd).st_blocks <= 256
same(fails(os.pwrite, fd, b"x", T), "EFBIG")
same(fails(os.ftruncate, fd, T + 1), "EFBIG")
os.ftruncate(fd, 0)
os.unlink("huge")
`,
  "heeds the limit of a program on the size of its files": `
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2 * K, 2 * K))
fd = new("limited")
same(os.pwrite(fd, fill(3 * K), 0), 2 * K)
same(fails(os.pwrite, fd, b"x", 2 * K), "EFBIG")
same(fails(os.ftruncate, fd, 3 * K), "EFBIG")
same(fails(fallocate, fd, 0, 0, 3 * K), "EFBIG")
same(os.fstat(fd).st_size, 2 * K)
`,
  "writes through shared mappings, also of closed descriptors and beside appends": `
fd = new("mapped")
os.ftruncate(fd, 3 * K)
with mmap.mmap(fd, 3 * K) as m:
    os.close(fd)
    m[K:K + 5] = b"first"
    m.flush()
    same(open("mapped", "rb").read()[K:K + 5], b"first")
    m[2 * K - 2:2 * K + 2] = b"edge"
data = bytes(K) + b"first" + bytes(K - 7) + b"edge" + bytes(K - 2)
same(open("mapped", "rb").read(), data)
# The kernel writes pages back through any descriptor that can write, here one that appends.
fd = os.open("mapped", os.O_RDWR | os.O_APPEND)
with mmap.mmap(fd, 3 * K) as m:
    m[:3] = b"abc"
    m.flush()
    os.write(fd, b"appended")
    m[3:6] = b"def"
    os.close(fd)
same(open("mapped", "rb").read(), b"abcdef" + data[6:] + b"appended")
with open("mapped", "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
    os.pwrite(f.fileno(), b"seen", K)
    same(m[K:K + 4], b"seen")
    fallocate(f.fileno(), PUNCH | KEEP, 0, K)
    same(m[:6], bytes(6))
`,
};

describe("what programs do to the content of files", function () {
  this.timeout(900_000);
  let cluster: TestCluster;
  let scratch: string;

  before(async () => {
    requireFuse();
    scratch = mkdtempSync(join(tmpdir(), "cairn-e2e-content-"));
    cluster = await TestCluster.start({ env: { CAIRN_MOUNT_BINDING: "kernel" } });
  });
  after(() => {
    cluster?.destroy();
    rmSync(scratch, { recursive: true, force: true });
  });

  for (const [what, program] of Object.entries(PROGRAMS)) {
    it(what, async () => {
      const input = `${PRELUDE}${program}`;
      const { code, stderr } = await run("python3", ["-"], { cwd: cluster.mount, input, timeoutMs: 300_000 });
      expect(code, stderr).to.equal(0);
    });
  }

  it("gives cp and tar the holes of a file, and takes them", async () => {
    const options = { cwd: cluster.mount, timeoutMs: 300_000 };
    const blocks = async (path: string) => Number(await sh(`stat -c %b ${path}`, options));
    await sh(
      "truncate -s 300M holey && for at in 0 100 299; do echo $at | dd of=holey bs=1M seek=$at conv=notrunc status=none; done",
      options,
    );
    await sh(`cp --sparse=always holey copied && cmp holey copied`, options);
    await sh(
      `tar -cSf ${scratch}/holey.tar holey && mkdir untarred && tar -xSf ${scratch}/holey.tar -C untarred && cmp holey untarred/holey`,
      options,
    );
    await sh(`cp --sparse=auto holey ${scratch}/out && cmp holey ${scratch}/out`, options);
    expect(Number(await sh(`stat -c %s ${scratch}/holey.tar`))).to.be.lessThan(100_000);
    for (const path of ["holey", "copied", "untarred/holey", `${scratch}/out`])
      expect(await blocks(path), path).to.be.lessThan(1000);
  });

  it("copies a large file without moving its bytes", async () => {
    const options = { cwd: cluster.mount, timeoutMs: 300_000 };
    await sh("head -c 150M /dev/urandom > large && cp large clone && cmp large clone", options);
    const ids = async (path: string) => (await cluster.fsck(path)).files[0]!.blocks.map(({ id }) => id);
    const blocks = await ids("/large");
    expect(blocks).to.have.length(3);
    expect(await ids("/clone")).to.deep.equal(blocks);
    expect(await sh("cp --reflink=always large other 2>&1 || echo refused", options)).to.match(/refused/);
    const sum = await sh("sha256sum < large", options);
    await sh("rm large && sync clone && echo 3 > /proc/sys/vm/drop_caches", options);
    expect(await sh("sha256sum < clone", options)).to.equal(sum);
  });

  it("copies files and folders with cairn fs cp, which moves no bytes either", async () => {
    const options = { cwd: cluster.mount, timeoutMs: 300_000 };
    const cp = (...args: string[]) => cluster.cairn(["fs", "cp", ...args]);
    await sh(
      "mkdir -p tree/below && head -c 3M /dev/urandom > tree/below/file && ln -s below/file tree/link && echo a > tree/a",
      options,
    );
    expect((await cp("/tree", "/twin")).stderr).to.match(/-r/);
    expect(await cp("-r", "/tree", "/twin")).to.include({ code: 0, stderr: "" });
    await sh("diff -r --no-dereference tree twin", options);
    const ids = async (path: string) => (await cluster.fsck(path)).files[0]!.blocks.map(({ id }) => id);
    expect(await ids("/twin/below/file")).to.deep.equal(await ids("/tree/below/file"));
    expect((await cp("/tree/a", "/twin")).stderr).to.match(/-f/);
    await sh("echo b > tree/a", options);
    expect(await cp("-f", "/tree/a", "/tree/link", "/twin")).to.include({ code: 0 });
    expect(
      await sh("cat twin/a; cmp twin/link tree/below/file; rm -r tree; wc -c < twin/below/file", options),
    ).to.equal("b\n3145728\n");
    expect((await cp("-r", "/twin", "/twin/below")).stderr).to.match(/into itself/);
    expect((await cluster.fsck("/twin")).summary.healthy).to.equal(true);
  });

  it("writes a file again that is in many pieces, and nobody notices", async () => {
    const program = `
import random, time
random.seed(5)
size, page = 2 << 20, 4096
pages = list(range(size // page))
random.shuffle(pages)
fd = new("pages")
for i, n in enumerate(pages):
    os.pwrite(fd, fill(page, n), n * page)
    if i % 4 == 3: os.fsync(fd)
os.fsync(fd)
before = os.fstat(fd)
open("../ready", "w").close()
want = b"".join(fill(page, n) for n in range(len(pages)))
while not os.path.exists("../enough"):
    same(os.pread(fd, size, 0) == want, True)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    time.sleep(0.05)
after = os.fstat(fd)
same([after.st_mtime_ns, after.st_ctime_ns, after.st_size], [before.st_mtime_ns, before.st_ctime_ns, size])
os.pwrite(fd, b"later", 100)
os.fsync(fd)
same(open("pages", "rb").read(), want[:100] + b"later" + want[105:])
`;
    const options = { cwd: cluster.mount, input: `${PRELUDE}${program}`, timeoutMs: 300_000 };
    const reading = run("python3", ["-"], options);
    const count = async () => (await cluster.fsck("/pages")).files[0]?.blocks.length ?? 0;
    const ended = reading.then(({ stderr }) => Promise.reject(new Error(`the reader ended: ${stderr}`)));
    const settled = (async () => {
      await until(() => existsSync(join(cluster.root, "ready")), {
        timeoutMs: 300_000,
        what: "the file to be written",
      });
      await until(async () => (await count()) <= 8, { timeoutMs: 300_000, what: "the file to be in a few blocks" });
    })();
    await Promise.race([settled, ended]).finally(() => writeFileSync(join(cluster.root, "enough"), ""));
    const { code, stderr } = await reading;
    expect(code, stderr).to.equal(0);
  });
});
