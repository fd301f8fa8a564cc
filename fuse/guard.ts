import { spawn } from "node:child_process";
import type { Socket } from "node:net";
import { messageOf } from "../common/errors.js";
import type { Logger } from "../common/log.js";
import { openAbort } from "./abort.js";
import { mountAt } from "./mountinfo.js";

/** The signal that the guard gets when the daemon's main thread ends. */
const DIED = "USR1";
/** Waits for that, or for the end of its input, then writes to the abort file. What ends a daemon kindly is not for the guard. */
const SCRIPT = `trap "" HUP INT TERM; trap : ${DIED}; read -r _; echo 1 >&3`;

/**
 * Has a process of its own see to it that the mount dies with this process. The kernel does, when the device is closed; but that
 * it is not while a thread of ours hangs in the kernel, over a notification that waits for a reply: then whoever touches the mount
 * would wait for ever. The guard ends with this process, and never touches the mount: it has the connection's abort file open.
 * Without setpriv(1), or permission, there is none, which is logged.
 */
export async function guard(mountpoint: string, log: Logger): Promise<void> {
  const unguarded = (why: string) => log.info({ mountpoint }, `nobody guards the mount: ${why}`);
  const entry = await mountAt(mountpoint);
  if (entry === undefined) return;
  try {
    const abort = await openAbort(entry);
    try {
      // Its input ends when this process has closed everything: it never writes to it.
      const child = spawn("setpriv", ["--pdeathsig", DIED, "sh", "-c", SCRIPT, `guard of ${mountpoint}`], {
        stdio: ["pipe", "ignore", "ignore", abort.fd],
        cwd: "/",
        detached: true,
      });
      child.on("error", (err) => unguarded(messageOf(err)));
      child.on("exit", (code, signal) => unguarded(`setpriv(1) ended with ${signal ?? code}`));
      child.stdin?.on("error", () => {}); // it has ended, which is said above
      child.unref();
      (child.stdin as Socket | null)?.unref();
    } finally {
      await abort.close();
    }
  } catch (err) {
    unguarded(messageOf(err));
  }
}
