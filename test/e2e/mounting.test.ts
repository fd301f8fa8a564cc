// Mounts as administrators make them: in the background, through mount(8), and mended where they have died or hang.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { processInfo } from "../../cli/cluster/process.js";
import { mountAt } from "../../fuse/mountinfo.js";
import { CAIRN, cairn, TestCluster } from "../support/cluster.js";
import { run, sh } from "../support/run.js";
import { until } from "../support/until.js";

const HELPER = "/sbin/mount.cairn";
const SLOW = { timeoutMs: 300_000 };

describe("mounting a cluster", function () {
  this.timeout(900_000);
  let cluster: TestCluster;
  let folder: string;
  let installed = false;
  const children: ChildProcess[] = [];
  before(async () => {
    cluster = await TestCluster.start({ datanodes: 1 });
    await sh(`mkdir ${cluster.mount}/projects && echo hello > ${cluster.mount}/projects/file`);
  });
  beforeEach(() => {
    // Below the cluster's root, so that whatever is left there goes with it.
    folder = mkdtempSync(join(cluster.root, "mounting-"));
  });
  after(() => {
    for (const child of children) child.kill("SIGKILL");
    if (installed) rmSync(HELPER, { force: true });
    cluster.destroy();
  });

  /** Where mounts in the background log. */
  const log = () => join(cluster.root, "mounting.log");

  /** The processes that serve a mountpoint. */
  async function daemons(mountpoint: string): Promise<number[]> {
    const { stdout } = await run("pgrep", ["-f", `^[^ ]*node ${CAIRN} mount ${mountpoint} `]);
    return stdout.split("\n").filter(Boolean).map(Number);
  }

  it("is done in the background, of one folder, and undone by umount(8), with the daemon", async () => {
    const args = ["mount", "--background", "--log-file", log(), "/projects", folder, "--read-only"];
    expect(await cluster.ok(args)).to.equal("");
    expect(await sh(`cat ${folder}/file`)).to.equal("hello\n");
    expect((await run("touch", [`${folder}/new`])).stderr).to.match(/Read-only file system/);
    expect((await mountAt(folder))?.source).to.equal(`127.0.0.1:${cluster.port}:/projects`);
    const [pid] = await daemons(folder);
    await sh(`umount ${folder}`);
    await until(() => processInfo(pid ?? 0) === undefined, { ...SLOW, what: "the daemon to end" });
  });

  it("has df show the quota of a folder, in a mount of it and in a mount of all", async () => {
    expect(await cluster.ok(["mount", "--background", "--log-file", log(), "/projects", folder])).to.equal("");
    await cluster.ok(["fs", "quota", "/projects", "--bytes", "20m", "--names", "100"]);
    const df = async (path: string) =>
      (await sh(`df -B1 --output=size,used,itotal ${path} | tail -1`)).trim().split(/ +/).map(Number);
    const shows = (path: string, bytes: number) =>
      until(async () => (await df(path)).join(" ") === `${20 << 20} ${bytes} 100`, { ...SLOW, what: `df ${path}` });
    await shows(folder, 4096);
    await sh(`head -c 1000000 /dev/urandom > ${folder}/million`);
    await shows(folder, 1_003_520);
    await shows(`${cluster.mount}/projects/million`, 1_003_520);
    expect((await df(cluster.mount))[0]).to.be.greaterThan(20 << 20);
    await sh(`rm ${folder}/million`);
    await cluster.ok(["fs", "quota", "/projects", "--clear"]);
    expect((await df(folder))[0]).to.be.greaterThan(20 << 20);
    await sh(`umount ${folder}`);
  });

  it("has access times follow reads, as relatime does, on this mount at once and on others soon, and not with noatime", async () => {
    const [file, dir] = [join(cluster.mount, "projects/read"), join(cluster.mount, "projects/dir")];
    await sh(`mkdir ${dir} && echo text > ${dir}/x && seq 100000 > ${file}`);
    await sh(`touch -a -d '2001-02-03 04:05:06 UTC' ${file} ${dir}`);
    const args = ["mount", "--background", "--log-file", log(), "-o", "noatime,cache-ms=0", "/projects", folder];
    expect(await cluster.ok(args)).to.equal("");
    expect(readFileSync("/proc/self/mountinfo", "utf8")).to.match(new RegExp(`${folder} rw,noatime.* fuse`));
    const atime = async (path: string) => Number(await sh(`stat -c %X ${path}`));
    const old = Date.UTC(2001, 1, 3, 4, 5, 6) / 1000;
    await sh(`cat ${folder}/read; ls ${folder}/dir`);
    expect([await atime(`${folder}/read`), await atime(file)]).to.deep.equal([old, old]);
    // Its pages are in the kernel since it was written.
    await sh(`cat ${file}; ls ${dir}`);
    const seen = [await atime(file), await atime(dir)];
    expect(seen[0]).to.be.greaterThan(old);
    expect(seen[1]).to.be.greaterThan(old);
    const both = async () => [await atime(`${folder}/read`), await atime(`${folder}/dir`)];
    await until(async () => (await both()).every((time, i) => time === seen[i]), { ...SLOW, what: "the new times" });
    await sh(`sleep 1.1; cat ${file}; ls ${dir}`);
    expect([await atime(file), await atime(dir)]).to.deep.equal(seen);
    await sh(`umount ${folder}`);
  });

  it("says in one sentence why it cannot be", async () => {
    for (const [args, why, code] of [
      [["/missing", folder], /^cairn: mount \/missing of the cluster: .*\(ENOENT\)\n$/, 1],
      [["/projects", `${folder}/missing`], /^cairn: mount on .*missing.*\(ENOENT\)\n$/, 1],
      [["-o", "speed=11", folder], /unknown mount option "speed"/, 2],
    ] as const) {
      const outcome = await cluster.cairn(["mount", "--background", "--log-file", log(), ...args]);
      expect(outcome.stderr).to.match(why);
      expect(outcome.code, outcome.stderr).to.equal(code);
    }
    expect(await daemons(folder)).to.deep.equal([]);
  });

  it("is done by mount(8), as fstab has it", async function () {
    if (existsSync(HELPER)) this.skip(); // somebody's own: not ours to replace
    installed = true;
    const top = join(CAIRN, "../../..");
    await sh(`sed -e "s|@NODE@|${process.execPath}|" -e "s|@CAIRN@|${CAIRN}|" ${top}/scripts/mount.cairn > ${HELPER}`);
    await sh(`chmod 755 ${HELPER}`);
    const source = `127.0.0.1:${cluster.port}:/projects`;
    const fstab = join(cluster.root, "fstab");
    await sh(
      `echo '${source} ${folder} cairn ro,cache-ms=100,log-file=${log()},_netdev,noauto,x-systemd.automount 0 0' > ${fstab}`,
    );
    await sh(`mount -T ${fstab} ${folder}`);
    expect(await sh(`cat ${folder}/file`)).to.equal("hello\n");
    expect(readFileSync("/proc/self/mountinfo", "utf8")).to.match(new RegExp(`${folder} ro,.* fuse.cairn ${source} `));
    await sh(`umount ${folder}`);
    const refused = await run("mount", [
      "-t",
      "cairn",
      "-o",
      `log-file=${log()}`,
      `127.0.0.1:${cluster.port}:/missing`,
      folder,
    ]);
    expect(refused.code).to.equal(32);
    expect(refused.stderr).to.match(/mount \/missing of the cluster/);
    expect((await run("mount", ["-t", "cairn", "-o", "speed=11", source, folder])).code).to.equal(1);
  });

  it("waits for a namenode that is not there yet, saying so, and for as long as somebody waits for it", async () => {
    await cluster.kill("namenode");
    const flags = ["--root", cluster.root, "--wait-ms", "3600000"];
    const start = (args: readonly string[]) => {
      const child = spawn(process.execPath, [CAIRN, "mount", ...args, ...flags], { env: cluster.env });
      children.push(child);
      let said = "";
      for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (said += String(text)));
      const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
      const waits = () =>
        until(() => /waiting up to 3600 s for the namenode at .*ECONNREFUSED/.test(said), {
          ...SLOW,
          what: "it to wait",
        });
      return { child, ended, waits };
    };
    const foreground = start([folder]);
    await foreground.waits();
    foreground.child.kill("SIGINT");
    await foreground.ended;
    const background = ["--background", "--log-file", log(), folder];
    const givenUp = start(background);
    await givenUp.waits();
    givenUp.child.kill("SIGINT");
    await givenUp.ended;
    await until(async () => (await daemons(folder)).length === 0, { ...SLOW, what: "the daemon to end" });
    const patient = start(background);
    await patient.waits();
    await cluster.up();
    expect(await patient.ended).to.equal(0);
    expect(await sh(`cat ${folder}/projects/file`)).to.equal("hello\n");
    await sh(`umount ${folder}`);
  });

  it("says in one sentence when the namenode does not come", async () => {
    const args = ["mount", "--wait-ms", "100", "--namenode", "127.0.0.1:1", folder];
    const { code, stderr } = await cairn(args, { env: cluster.env });
    expect(stderr).to.match(/^cairn: no namenode at 127.0.0.1:1: .*ECONNREFUSED/);
    expect(code).to.equal(1);
  });

  it("is mended by cluster start when the daemon was stopped, or hangs", async () => {
    const before = cluster.pid("mount");
    await cluster.kill("mount", "SIGSTOP");
    await cluster.up();
    expect(cluster.pid("mount")).to.equal(before); // woken
    expect(await sh(`cat ${cluster.mount}/projects/file`)).to.equal("hello\n");
  });

  it("ends with the cluster, also when its daemon was stopped", async () => {
    await cluster.kill("mount", "SIGSTOP");
    await cluster.down();
    expect(await mountAt(cluster.mount)).to.equal(undefined);
    await cluster.up();
    expect(await sh(`cat ${cluster.mount}/projects/file`)).to.equal("hello\n");
  });
});
