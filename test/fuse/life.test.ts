// How mounts begin and end.
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { RealClock } from "../../common/clock.js";
import { mountAt } from "../../fuse/mountinfo.js";
import { probe } from "../../fuse/probe.js";
import { unmount } from "../../fuse/umount.js";
import { rejection } from "../support/rejection.js";
import { until } from "../support/until.js";
import {
  BOTH,
  countProcesses,
  countProcessesIn,
  countThreads,
  shell,
  startMount,
  type TestMount,
  type TestSettings,
} from "./mounted.js";

const clock = new RealClock();
/** How long a mount may take to end, ms. */
const SOON = { timeoutMs: 120_000, what: "the mount to end" };

for (const binding of BOTH) {
  describe(`fuse mount (${binding}): begin and end`, function () {
    this.timeout(300_000);
    const mounts: TestMount[] = [];
    const start = async (settings: TestSettings = {}) => {
      const mount = await startMount({ binding, ...settings });
      mounts.push(mount);
      return mount;
    };
    afterEach(async () => {
      for (const mount of mounts.splice(0)) await mount.remove();
    });

    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      it(`ends cleanly on ${signal}`, async () => {
        const mount = await start();
        await writeFile(join(mount.dir, "f"), "x");
        mount.server.kill(signal);
        expect(await mount.exited).to.equal(0);
        expect(await mountAt(mount.dir)).to.equal(undefined);
      });
    }

    it("ends when somebody unmounts it", async () => {
      const mount = await start();
      await shell(`umount '${mount.dir}'`);
      expect(await mount.exited).to.equal(0);
    });

    it("ends on SIGTERM while a program uses it, lazily, when its time is up", async () => {
      const mount = await start({ unmountTimeoutMs: 300 });
      const holder = shell(`cd '${mount.dir}' && exec sleep 4.321`);
      await until(() => countProcessesIn(mount.dir), { what: "a program to use the mount" });
      mount.server.kill("SIGTERM");
      expect(await mount.exited).to.equal(0);
      expect(await mountAt(mount.dir)).to.equal(undefined);
      await holder;
    });

    it("clears what a killed mount left, on unmount", async () => {
      const mount = await start();
      mount.server.kill("SIGKILL");
      await mount.exited;
      expect((await rejection(stat(mount.dir))).code).to.equal("ENOTCONN");
      await unmount(mount.dir, { clock });
      expect((await stat(mount.dir)).isDirectory()).to.equal(true);
      expect((await rejection(unmount(mount.dir, { clock }))).code).to.equal("EINVAL");
    });

    it("takes away a mount whose daemon hangs, with whoever waits for it, when forced to", async () => {
      const mount = await start({ hang: "getXattr" });
      await writeFile(join(mount.dir, "f"), "x");
      await shell(`python3 -c 'import os; os.setxattr("f", "user.y", b"1")'`, mount.dir);
      const path = join(mount.dir, "f");
      const waiting = shell(`exec python3 -c 'import os, sys; os.getxattr(sys.argv[1], "user.x")' '${path}'`);
      const failure = rejection(waiting);
      await until(() => countProcesses(path), { what: "a program to wait" });
      mount.server.kill("SIGSTOP");
      // It must not hang itself on the way.
      expect(await probe(mount.dir)).to.equal("silent");
      expect(await unmount(mount.dir, { clock, force: true })).to.equal("lazy");
      expect(await mountAt(mount.dir)).to.equal(undefined);
      expect((await failure).message).to.match(/Error/);
      mount.server.kill("SIGCONT");
      // It notices, and ends.
      expect(await mount.exited).to.be.oneOf([0, 1]);
    });

    it("says of a mountpoint that does not answer how to take it away", async () => {
      const first = await start();
      first.server.kill("SIGSTOP");
      const second = await startMount({ binding, mountpoint: first.dir });
      expect(await second.exited).to.equal(1);
      expect(second.said()).to.match(/does not answer.*umount --force/);
      first.server.kill("SIGCONT");
      expect(await probe(first.dir)).to.equal("answers");
      first.server.kill("SIGTERM");
      expect(await first.exited).to.equal(0);
    });

    it("ends at once on a second signal, and leaves no mount behind", async () => {
      const mount = await start({ unmountTimeoutMs: 600_000 });
      const holder = shell(`cd '${mount.dir}' && exec sleep 6.123`);
      await until(() => countProcessesIn(mount.dir), { what: "a program to use the mount" });
      mount.server.kill("SIGTERM");
      // False once it has ended.
      await until(() => !mount.server.kill("SIGINT"), SOON);
      expect(await mount.exited).to.equal(1);
      await until(async () => !(await mountAt(mount.dir)), SOON);
      await holder;
    });

    it("clears what a killed mount left, on the next mount", async () => {
      const first = await start();
      first.server.kill("SIGKILL");
      await first.exited;
      const second = await start({ mountpoint: first.dir });
      await until(
        () =>
          stat(second.dir).then(
            (s) => s.ino === 1,
            () => false,
          ),
        SOON,
      );
      await writeFile(join(second.dir, "f"), "x");
    });

    it("refuses a mountpoint that is missing, no directory, not empty or taken", async () => {
      const top = await mkdtemp(join(tmpdir(), "cairn-life-"));
      try {
        await writeFile(join(top, "file"), "");
        for (const [mountpoint, why] of [
          [join(top, "missing"), /ENOENT|no such file/],
          [join(top, "missing/below"), /ENOENT|no such file/],
          [join(top, "file"), /not a directory/],
          [top, /not empty/],
        ] as const) {
          const mount = await start({ mountpoint });
          expect(await mount.exited, mountpoint).to.equal(1);
          expect(mount.said()).to.match(why);
          mounts.pop();
        }
        const taken = await start();
        const second = await startMount({ binding, mountpoint: taken.dir });
        expect(await second.exited).to.equal(1);
        expect(second.said()).to.match(/mounted there already/);
        expect(await shell(`echo alive > '${taken.dir}/f' && cat '${taken.dir}/f'`)).to.equal("alive\n");
      } finally {
        await rm(top, { recursive: true, force: true });
      }
    });

    it("mounts over a directory that is not empty when told to", async () => {
      const top = await mkdtemp(join(tmpdir(), "cairn-life-"));
      await writeFile(join(top, "hidden"), "");
      const mount = await start({ mountpoint: top, nonempty: true });
      expect(await shell(`ls '${top}'`)).to.equal("");
      mount.server.kill("SIGTERM");
      await mount.exited;
      expect(await shell(`ls '${top}'`)).to.equal("hidden\n");
    });

    it("leaves no mount behind when an invariant breaks", async () => {
      const mount = await start({ breakAfterMs: 300 });
      expect(await mount.exited).to.equal(1);
      await until(async () => !(await mountAt(mount.dir)), SOON);
    });

    it("does not let a request that waits hold up others", async () => {
      const mount = await start({ hang: "getXattr" });
      await writeFile(join(mount.dir, "f"), "x");
      await shell(`python3 -c 'import os; os.setxattr("f", "user.y", b"1")'`, mount.dir);
      const ask = `
import os, sys, threading
for i in range(20): threading.Thread(target=lambda: os.getxattr(sys.argv[1], "user.x")).start()
print(os.getpid())`;
      const waiting = shell(`exec python3 -c '${ask}' '${mount.dir}/f'`).catch(() => "killed");
      await until(async () => (await countThreads(`${mount.dir}/f`)) === 21, { what: "20 waiting threads" });
      expect(await shell(`cat '${mount.dir}/f'`)).to.equal("x");
      mount.server.kill("SIGKILL");
      await waiting;
    });
  });
}
