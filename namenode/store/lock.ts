import { spawnSync } from "node:child_process";
import { constants } from "node:fs";
import { type FileHandle, mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { CairnError, wrap } from "../../common/errors.js";

/** What flock(1) exits with when the lock is held, so that it is not taken for another failure. */
const HELD = 75;

/**
 * A lock on a folder that one process can hold: flock(2) on the file "lock" in it, which also names the holder's pid. The
 * kernel lets go of it when the process ends, however that comes: nothing is left behind.
 */
export class FolderLock {
  readonly #file: FileHandle;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Takes the lock of a folder, which is made when missing. Throws EBUSY, naming folder and pid, when another has it. */
  static async take(folder: string): Promise<FolderLock> {
    const path = join(folder, "lock");
    let file: FileHandle | undefined;
    try {
      await mkdir(folder, { recursive: true });
      file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o644);
      // Node has no flock(2). flock(1) locks the open file that it inherits as descriptor 3, which is ours: the lock stays.
      const args = ["--nonblock", "--conflict-exit-code", String(HELD), "3"];
      const { status, error, stderr } = spawnSync("flock", args, { stdio: ["ignore", "ignore", "pipe", file.fd] });
      if (error) throw error;
      if (status === HELD) {
        const pid = (await file.readFile("utf8")).trim();
        throw new CairnError("EBUSY", `process ${pid || "(starting)"} is using it`);
      }
      if (status !== 0) throw new CairnError("EIO", `flock: ${stderr.toString().trim()}`);
      await file.truncate();
      await file.write(`${process.pid}\n`, 0);
      return new FolderLock(file);
    } catch (err) {
      await file?.close();
      throw wrap(err, `lock the folder ${folder}`);
    }
  }

  /** Lets go of the lock. */
  release(): Promise<void> {
    return this.#file.close();
  }
}
