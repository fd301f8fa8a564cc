import { readFile } from "node:fs/promises";

/** A mounted file system, as the kernel lists it. */
export interface MountEntry {
  /** "major:minor" of its device number. */
  readonly device: string;
  readonly mountpoint: string;
  /** For example "fuse.cairn". */
  readonly type: string;
  readonly source: string;
}

/** All mounts this process sees. Touches none of them. */
export async function listMounts(): Promise<MountEntry[]> {
  return parseMounts(await readFile("/proc/self/mountinfo", "utf8"));
}

/** Reads the format of /proc/self/mountinfo (proc(5)). */
export function parseMounts(text: string): MountEntry[] {
  const mounts: MountEntry[] = [];
  for (const line of text.split("\n")) {
    const [before, after] = line.split(" - ");
    const fields = before?.split(" ") ?? [];
    const [type, source] = after?.split(" ") ?? [];
    if (fields.length < 5 || type === undefined || source === undefined) continue;
    mounts.push({ device: fields[2]!, mountpoint: unescaped(fields[4]!), type, source: unescaped(source) });
  }
  return mounts;
}

/** What is mounted at exactly this (absolute, resolved) path: the uppermost; undefined when nothing is. */
export async function mountAt(path: string): Promise<MountEntry | undefined> {
  return (await listMounts()).findLast((m) => m.mountpoint === path);
}

function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
