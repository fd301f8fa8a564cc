// What a mount is told when it begins.
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { flagWords } from "../../fuse/flags.js";
import { checkFusermount } from "../../fuse/native/fusermount.js";
import { rejection } from "../support/rejection.js";
import { BOTH, shell, startMount, type TestMount, type TestSettings } from "./mounted.js";

const AS_USER = "setpriv --reuid 1234 --regid 2345 --clear-groups";

describe("mount flags", () => {
  it("are a local disk's for root, and without setuid and devices for others, who may not ask for them", () => {
    expect(flagWords({ readOnly: false, exec: true, noatime: false }, true)).to.deep.equal([
      "rw",
      "suid",
      "dev",
      "exec",
    ]);
    expect(flagWords({ readOnly: true, exec: false, noatime: false }, false)).to.deep.equal([
      "ro",
      "nosuid",
      "nodev",
      "noexec",
    ]);
    expect(flagWords({ readOnly: false, exec: true, noatime: true, suid: false, dev: false }, true)).to.include.members(
      ["nodev", "noatime"],
    );
    expect(() => flagWords({ readOnly: false, exec: true, noatime: false, dev: true }, false))
      .to.throw(/only root/)
      .with.property("code", "EPERM");
  });
});

describe("mounting without being root", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "cairn-fusermount-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it("says what is missing, and what to do", async () => {
    const system = { root: false, path: `/nonexistent:${folder}`, conf: join(folder, "fuse.conf") };
    const refused = async (allowOther: boolean) => {
      const { code, message } = await rejection(checkFusermount(allowOther, system));
      return `${message} ${code}`;
    };
    expect(await refused(false)).to.match(/not installed \(apt-get install fuse3\) ENOENT/);
    await writeFile(join(folder, "fusermount"), "");
    expect(await refused(false)).to.match(/not setuid root .*chmod u\+s.* EPERM/);
    await chmod(join(folder, "fusermount"), 0o4755);
    await checkFusermount(false, system);
    expect(await refused(true)).to.match(/user_allow_other.* EPERM/);
    await writeFile(system.conf, "#user_allow_other\n");
    expect(await refused(true)).to.match(/user_allow_other.* EPERM/);
    await writeFile(system.conf, "mount_max = 9\nuser_allow_other\n");
    await checkFusermount(true, system);
    await checkFusermount(true, { ...system, root: true, path: "" });
  });
});

for (const binding of BOTH) {
  describe(`fuse mount (${binding}): options`, function () {
    this.timeout(300_000);
    let mount: TestMount | undefined;
    const start = async (settings: TestSettings = {}): Promise<string> => {
      mount = await startMount({ binding, ...settings });
      return mount.dir;
    };
    afterEach(async () => {
      await mount?.remove();
      mount = undefined;
    });

    it("has devices and setuid programs work when root mounts, unless told otherwise", async () => {
      const dir = await start();
      await shell("mknod -m 666 null c 1 3 && echo gone > null && cp /usr/bin/id id && chmod 4755 id", dir);
      expect(await shell(`${AS_USER} ./id -u`, dir)).to.equal("0\n");
      await mount?.remove();
      const tight = await start({ dev: false, suid: false, exec: true, noatime: false });
      await shell("mknod -m 666 null c 1 3 && cp /usr/bin/id id && chmod 4755 id", tight);
      expect((await rejection(shell("echo gone > null", tight))).message).to.match(/Permission denied/);
      expect(await shell(`${AS_USER} ./id -u`, tight)).to.equal("1234\n");
    });

    it("executes nothing with exec off", async () => {
      const dir = await start({ exec: false, noatime: false });
      await shell("cp /usr/bin/true t", dir);
      expect((await rejection(shell("./t", dir))).message).to.match(/Permission denied/);
    });

    it("lets nobody change anything when it is read-only", async () => {
      const dir = await start({ folder: "top", readOnly: true });
      expect(await readdir(dir)).to.deep.equal(["top"]);
      const attempts = [
        () => mkdir(join(dir, "d")),
        () => writeFile(join(dir, "top/inside"), "x"),
        () => rmdir(join(dir, "top")),
      ];
      for (const attempt of attempts) expect((await rejection(attempt())).code).to.equal("EROFS");
    });

    it("shows everything as one user's, and makes it as theirs", async () => {
      const dir = await start({ folder: "top", uid: 1234, gid: 2345 });
      const owner = async (name: string) => {
        const { uid, gid } = await stat(join(dir, name));
        return [uid, gid];
      };
      expect(await owner(".")).to.deep.equal([1234, 2345]);
      expect(await owner("top/inside")).to.deep.equal([1234, 2345]);
      await shell("echo x > top/made && mkdir top/dir && ln -s made top/link", dir);
      await shell(`${AS_USER} sh -c 'echo y >> top/made && chown 1234:2345 top/made && rm top/link'`, dir);
      expect(await owner("top/made")).to.deep.equal([1234, 2345]);
      expect(await shell("ls -ln top | awk 'NR > 1 { print $3, $4 }' | sort -u", dir)).to.equal("1234 2345\n");
      expect((await rejection(shell("chown 5 top/made", dir))).message).to.match(/not permitted/);
    });

    it("shows one folder of the cluster, and nothing beside it", async () => {
      const dir = await start({ folder: "top", subdir: "/top/" });
      expect(await readdir(dir)).to.deep.equal(["inside"]);
      await shell("mkdir -p a/b && echo 1 > a/b/f && mv a/b b && mv b/f . && ln f g && ln -s ../../outside l", dir);
      expect(await readFile(join(dir, "g"), "utf8")).to.equal("1\n");
      const [root, above] = await Promise.all([stat(dir), stat(join(dir, "a/.."))]);
      expect(above.ino).to.equal(root.ino);
      expect(root.nlink).to.equal(4);
      // What a directory says of its parent does not lead out either.
      const parents = await shell('python3 -c \'import os; print(os.stat("a/..").st_ino, os.stat(".").st_ino)\'', dir);
      expect(parents).to.equal(`${root.ino} ${root.ino}\n`);
      expect((await readdir(dir)).sort()).to.deep.equal(["a", "b", "f", "g", "inside", "l"]);
      await shell("rm -r a b f g l && touch -d 2001-01-01 . && chmod 700 .", dir);
      expect(await shell("stat -c '%a %y' . | cut -c1-14", dir)).to.equal("700 2001-01-01\n");
    });

    it("refuses a folder that is none, or that is written with a way up", async () => {
      for (const [subdir, why] of [
        ["/missing", /mount \/missing of the cluster/],
        ["/top/inside", /not a directory/],
        ["/top/../top", /without ".."/],
      ] as const) {
        await start({ folder: "top", subdir });
        expect(await mount?.exited, subdir).to.equal(1);
        expect(mount?.said()).to.match(why);
        await mount?.remove();
      }
    });
  });
}
