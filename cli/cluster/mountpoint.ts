import { execFile } from "node:child_process";
import { readFileSync, realpathSync } from "node:fs";
import { resolve } from "node:path";

/** How long a mounted file system may take to answer statfs, ms. */
const ANSWER_MS = 2_000;

/** What is mounted on a folder. */
export interface Mounted {
  /** The file system's type: "fuse", "ext4", … */
  readonly type: string;
  /** What was mounted, as the file system names it. */
  readonly source: string;
}

/** What is mounted exactly on a path (the topmost); undefined when nothing is. Never touches the mounted file system. */
export function mountedAt(path: string): Mounted | undefined {
  return mounts().get(canonical(path));
}

/** The mountpoints below a folder, or on it. */
export function mountsBelow(folder: string): string[] {
  const top = canonical(folder);
  return [...mounts().keys()].filter((at) => at === top || at.startsWith(`${top}/`));
}

/** Whether the file system on a mountpoint answers. Asked of another process, which can be killed if it hangs. */
export function answers(mountpoint: string): Promise<boolean> {
  return new Promise((done) => {
    execFile("stat", ["-f", "--", mountpoint], { timeout: ANSWER_MS, killSignal: "SIGKILL" }, (err) =>
      done(err === null),
    );
  });
}

/** The path without symbolic links. A mountpoint itself is not looked at: a dead one would fail, or hang. */
function canonical(path: string): string {
  const absolute = resolve(path);
  const slash = absolute.lastIndexOf("/");
  try {
    const parent = realpathSync(absolute.slice(0, slash) || "/");
    return parent === "/" ? `/${absolute.slice(slash + 1)}` : `${parent}/${absolute.slice(slash + 1)}`;
  } catch {
    return absolute; // its parent does not exist: then nothing is mounted there either
  }
}

function mounts(): Map<string, Mounted> {
  const table = new Map<string, Mounted>();
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    // 36 35 98:0 /root /mountpoint options optional… - type source super-options
    const [left, right] = line.split(" - ");
    const at = left?.split(" ")[4];
    const [type, source] = right?.split(" ") ?? [];
    if (at !== undefined && type !== undefined) table.set(unescape(at), { type, source: unescape(source ?? "") });
  }
  return table;
}

/** Undoes mountinfo's octal escapes of space, tab, newline and backslash. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
