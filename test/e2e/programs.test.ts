// Programs that people use, on the mount: each does its work there, and then finds all of it in order.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { requireFuse, TestCluster } from "../support/cluster.js";
import { quote, sh } from "../support/run.js";

/** This checkout. */
const PROJECT = fileURLToPath(new URL("../../..", import.meta.url));
/** How long one line of shell may take, ms: many times what it takes on a machine that has nothing else to do. */
const LINE_MS = 300_000;

describe("programs on the mount", function () {
  this.timeout(LINE_MS);
  let cluster: TestCluster;
  /** A folder on the local disk. */
  let scratch: string;

  before(async () => {
    requireFuse();
    scratch = mkdtempSync(join(tmpdir(), "cairn-e2e-programs-"));
    cluster = await TestCluster.start();
    chmodSync(cluster.root, 0o755); // PostgreSQL's user comes through here
  });
  after(() => {
    cluster?.destroy();
    if (scratch) rmSync(scratch, { recursive: true, force: true });
  });

  /** Runs lines of shell in a new folder of the mount; what they print. */
  function onMount(folder: string, lines: string): Promise<string> {
    const cwd = join(cluster.mount, folder);
    mkdirSync(cwd, { recursive: true });
    return sh(lines, { cwd, timeoutMs: LINE_MS });
  }
  /** Runs the same lines in a local folder, too: they must print the same. */
  async function onBoth(folder: string, lines: string): Promise<string> {
    const cwd = join(scratch, folder);
    mkdirSync(cwd);
    const local = await sh(lines, { cwd, timeoutMs: LINE_MS });
    expect(await onMount(folder, lines)).to.equal(local);
    return local;
  }

  it("git: clone, commit, branch, merge, gc, fsck", async () => {
    await sh(
      `git init -q -b main ${scratch}/origin && cd ${scratch}/origin
       git config user.name Cairn && git config user.email cairn@example.org
       cp -r /usr/include/linux . && git add . && git commit -qm linux
       cp -r /usr/include/asm-generic . && ln -s linux/fuse.h fuse.h && git add . && git commit -qm generic`,
      { timeoutMs: LINE_MS },
    );
    const said = await onMount(
      "git",
      `git clone -q ${scratch}/origin clone && git clone -q file://${scratch}/origin far && cd clone
       git config user.name Cairn && git config user.email cairn@example.org
       git switch -qc work && sed -i 1d linux/fs.h && git mv linux/fuse.h linux/moved.h && git commit -qam work
       git switch -q main && chmod +x linux/fcntl.h && git commit -qam mode && git merge -q -m merge work
       git gc --quiet --prune=now && git fsck --full --strict && git status --porcelain
       git diff --stat HEAD~2 HEAD && git log --format=%s && git diff --quiet origin/main~1 main~2 -- linux/fuse.h
       cd ../far && git pull -q ../clone main && git fsck --full && git rev-parse HEAD^{tree} && git -C ../clone rev-parse HEAD^{tree}`,
    );
    const lines = said.trim().split("\n");
    expect(said).to.match(/^merge$/m);
    expect(lines.at(-1)).to.match(/^[0-9a-f]{40}$/);
    expect(lines.at(-2)).to.equal(lines.at(-1));
  });

  for (const journal of ["wal", "delete"]) {
    it(`sqlite3: four writers at once, journal_mode ${journal}`, async () => {
      const transactions = 25;
      const said = await onMount(
        `sqlite-${journal}`,
        `sqlite3 db 'PRAGMA journal_mode=${journal}' 'CREATE TABLE t (writer, n, pad, PRIMARY KEY (writer, n))' 'CREATE TABLE c (n)' 'INSERT INTO c VALUES (0)' >/dev/null
         for w in 1 2 3 4; do
           { echo .timeout ${LINE_MS}
             for n in $(seq ${transactions}); do
               echo "BEGIN IMMEDIATE; INSERT INTO t VALUES ($w, $n, randomblob(3000)); UPDATE c SET n = n + 1; COMMIT;"
             done
           } | sqlite3 -bail db >/dev/null & pids+=($!)
         done
         for pid in \${pids[@]}; do wait $pid; done
         sqlite3 db 'SELECT count(*), sum(n), max(length(pad)) FROM t' 'SELECT n FROM c' 'PRAGMA integrity_check'
         sqlite3 db 'DELETE FROM t WHERE n % 2' VACUUM 'PRAGMA integrity_check' 'PRAGMA journal_mode'`,
      );
      const sum = 4 * ((transactions * (transactions + 1)) / 2);
      expect(said).to.equal(`${4 * transactions}|${sum}|3000\n${4 * transactions}\nok\nok\n${journal}\n`);
    });
  }

  /** Makes a folder with all that copiers may lose: links, modes, owners, times, extended attributes, holes, odd names. */
  const KINDS = `
    mkdir -p tree/sub/deep tree/empty && cd tree
    echo one > plain && ln plain hard && ln plain sub/hard && ln -s ../plain sub/soft && ln -s nowhere dangling
    head -c 3000000 /dev/urandom > large && head -c 70000 /dev/zero > zeros && : > nothing
    truncate -s 8M sparse && echo begin | dd of=sparse conv=notrunc status=none && echo end >> sparse
    mkfifo fifo && mknod null c 1 3
    echo x > 'name with spaces and "quotes"' && echo y > $'\\xff\\xfe' && echo z > "-dash"
    chown 1234:2345 large && chmod 4751 large && chmod 1777 sub && chmod 000 nothing
    setfattr -n user.note -v 'with words' plain && setfattr -n user.folder -v 1 sub && setfattr -n trusted.t -v 2 zeros
    touch -d '2001-02-03 04:05:06.789012345' plain sub/deep && touch -h -d '1999-01-01' sub/soft
    touch -d '1968-01-01' zeros && touch -d '2000-01-01' sub .
  `;
  /** What there is below the folder it is run in. */
  const LOOK = `{ find . -printf '%P %y %M %n %U %G %T@ %l\\n' -type f -printf '%s\\n' | sort
    find . -type f -print0 | sort -z | xargs -0 sha256sum
    find . -print0 | sort -z | xargs -0 getfattr -hd -m 'user|trusted'; }`;

  it("rsync -aHAX: the second run sends nothing", async () => {
    await sh(`cd ${scratch} && mkdir rsync && cd rsync; ${KINDS}`);
    const there = `${cluster.mount}/rsync`;
    await sh(`rsync -aHAX@-1 ${scratch}/rsync/ ${there}/`, { timeoutMs: LINE_MS });
    expect(await sh(`rsync -aHAXi@-1 ${scratch}/rsync/ ${there}/`)).to.equal("");
    expect(await sh(`rsync -aHAXic@-1 ${there}/ ${scratch}/rsync/`)).to.equal("");
    expect(await sh(`cd ${there}/tree; ${LOOK}`)).to.equal(await sh(`cd ${scratch}/rsync/tree; ${LOOK}`));
    expect(
      await sh(`rm ${there}/tree/plain; rsync -aHAX@-1 --delete --info=stats2 ${scratch}/rsync/ ${there}/`),
    ).to.match(/Number of regular files transferred: 0\n/);
  });

  it("tar: links, holes and extended attributes come back, from the mount and to it", async () => {
    await onMount("tar", `{ ${KINDS} }; cd ..; tar --xattrs --xattrs-include='*' -cSf tree.tar tree`);
    const here = `${scratch}/tar`;
    mkdirSync(here);
    const extract = "tar --xattrs --xattrs-include='*' -xpSf";
    await sh(`cd ${here} && ${extract} ${cluster.mount}/tar/tree.tar`);
    await onMount("untar", `${extract} ../tar/tree.tar`);
    const original = await onMount("tar", `cd tree; ${LOOK}`);
    expect(await sh(`cd ${here}/tree; ${LOOK}`)).to.equal(original);
    expect(await onMount("untar", `cd tree; ${LOOK}`)).to.equal(original);
  });

  it("cp --sparse: holes take no space, and written zeros do where they must", async () => {
    const said = await onMount(
      "sparse",
      `truncate -s 8M holes && echo middle | dd of=holes bs=1M seek=4 conv=notrunc status=none
       cp --sparse=always holes always && cp --sparse=auto holes auto && cp --sparse=never holes never && cp -a holes archive
       for f in always auto never archive; do cmp holes $f; done
       for f in holes always never; do echo $f $(( $(stat -c %b $f) * 512 / 1048576 )); done`,
    );
    expect(said).to.equal("holes 0\nalways 0\nnever 8\n");
  });

  it("make and gcc: LMDB and lz4 build, and their own tests pass", async () => {
    await onMount(
      "c",
      `cp -rL ${PROJECT}/node_modules/lmdb/dependencies/lmdb/libraries/liblmdb ${PROJECT}/node_modules/lz4/deps/lz4 .
       make -sC liblmdb -j2 OPT=-O0 >/dev/null && make -sC liblmdb test >/dev/null && liblmdb/mdb_stat liblmdb/testdb | grep Entries
       make -sC lz4/programs -j2 lz4 CFLAGS=-O0 >/dev/null && make -sC lz4/programs lz4 -q
       head -c 2000000 /dev/urandom > data && lz4/programs/lz4 -q data data.lz4 && lz4/programs/lz4 -qdc data.lz4 | cmp - data`,
    );
  });

  it("npm ci: this project's modules", async () => {
    await onMount(
      "npm",
      `cp ${PROJECT}/package.json ${PROJECT}/package-lock.json . && npm ci --prefer-offline --ignore-scripts --no-audit --no-fund --silent
       npm ls --all >/dev/null && node --input-type=module -e 'import "protobufjs"; import "ws"; import "zod"; import "fast-check"'`,
    );
  });

  it("PostgreSQL: initdb, pgbench, and everything is there after a restart", async () => {
    const folder = join(cluster.mount, "postgres");
    mkdirSync(folder);
    await sh(`chown postgres:postgres ${folder}`);
    const transactions = 100;
    const script = `
      PATH=$(pg_config --bindir 2>/dev/null || ls -d /usr/lib/postgresql/*/bin | tail -1):$PATH
      export PGHOST=$PWD PGDATABASE=postgres
      start() { pg_ctl -sw -t 240 -D data -l log -o "-c listen_addresses= -k $PWD" start || { cat log; false; }; }
      initdb -k -D data >/dev/null && start
      trap '[ -f data/postmaster.pid ] && pg_ctl -s -D data -m immediate stop' EXIT
      pgbench -qi -s 1 2>/dev/null && pgbench -n -c 2 -j 2 -t ${transactions} >/dev/null 2>&1
      pg_ctl -s -D data -m fast stop && pg_checksums --check -D data | grep 'Bad checksums' && start
      psql -Atc 'SELECT count(*) FROM pgbench_history' -c 'SELECT sum(abalance) = (SELECT sum(delta) FROM pgbench_history) FROM pgbench_accounts'
      pg_amcheck postgres && pg_ctl -s -D data -m immediate stop && start
      psql -Atc 'SELECT count(*) FROM pgbench_accounts' && pg_ctl -s -D data -m fast stop`;
    writeFileSync(join(folder, "script"), script, { mode: 0o755 });
    const said = await sh("setpriv --reuid postgres --regid postgres --init-groups bash -euo pipefail ./script", {
      cwd: folder,
      timeoutMs: LINE_MS,
    });
    expect(said).to.equal(`Bad checksums:  0\n${2 * transactions}\nt\n100000\n`);
  });

  it("find, du, sed -i, patch, diff, sort, split, dd, install, mktemp and touch do what they do on a local disk", async () => {
    await onBoth(
      "tools",
      `mkdir -p d/{a,b}/{1,2} && seq 2000 > d/a/1/n && sed -i 's/^7/seven/' d/a/1/n && sed -i.bak 2d d/a/1/n
       seq 2000 > d/b/n && cp d/b/n d/b/old && sed -i '100,110d;500a more' d/b/n
       (cd d/b && diff -u --label old --label n old n > ../p || true; cp old again && patch -s again < ../p && cmp again n && patch -sR again < ../p && cmp again old)
       sort -r d/b/n -o d/b/n && split -l 300 d/b/n d/a/2/part- && cat d/a/2/part-* | cmp - d/b/n
       dd if=/dev/zero of=d/z bs=4k count=20 status=none && seq 100 | dd of=d/z bs=10 seek=1000 conv=notrunc status=none
       dd if=d/z of=d/direct bs=4k iflag=fullblock oflag=append conv=notrunc status=none && cmp d/z d/direct
       install -m 2755 -o 7 -g 8 d/z d/installed && chmod -R g-w,o= d/b && chown -R 12:13 d/b && rmdir $(mktemp -d d/tmp.XXXX)
       touch -d 2020-02-02 d/z && touch -r d/z d/direct && cp -al d/a d/links && mv d/links/1 d/moved && rm -r d/links/2
       find d -type f ! -newer d/z | sort; find d -perm /6000 -o -links +1 | sort; find d -name 'part-*' -size -3k -delete
       find d -printf '%P %M %n %U %G %y\\n' -type f -printf '%s\\n' | sort; du -a --apparent-size -b d/a/1/n d/z
       find d -type f -print0 | sort -z | xargs -0 sha256sum; ls -ln d/installed | cut -c1-30; wc -l d/b/{n,old}; grep -rc seven d | sort`,
    );
  });

  it("Python: shared mappings are what the file is, and the file what they are", async () => {
    const program = `
import mmap, os
size = 3_000_000
f = os.open("m", os.O_CREAT | os.O_RDWR, 0o644)
os.ftruncate(f, size)
m = mmap.mmap(f, size)
for at in range(0, size - 8, 65_537): m[at:at + 8] = at.to_bytes(8, "big")
assert all(os.pread(f, 8, at) == at.to_bytes(8, "big") for at in range(0, size - 8, 65_537))
os.pwrite(f, b"written", 1_000_000)
assert m[1_000_000:1_000_007] == b"written"
m.flush()
pid = os.fork()
if pid == 0:
    m[5:9] = b"kid!"
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert m[5:9] == b"kid!" and os.pread(f, 4, 5) == b"kid!"
m.close(); os.close(f)
data = open("m", "rb").read()
assert len(data) == size and data[5:9] == b"kid!" and data[1_000_000:1_000_007] == b"written"
print(hash(1), len(data))
`;
    writeFileSync(join(scratch, "mappings.py"), program);
    await onBoth("mmap", `python3 ${quote(join(scratch, "mappings.py"))}; sha256sum m; chmod 755 m; stat -c '%s %a' m`);
  });
});
