import { CairnError } from "../common/errors.js";

/** What is refused, or left undone, on a mount, as mount(8) names it. */
export interface MountFlags {
  /** Nothing can be changed. */
  readonly readOnly: boolean;
  /** Whether setuid and setgid bits, and file capabilities, have effect; by default when root mounts. */
  readonly suid?: boolean | undefined;
  /** Whether device nodes can be opened; by default when root mounts. */
  readonly dev?: boolean | undefined;
  /** Whether programs can be executed. */
  readonly exec: boolean;
  /** Whether reads change no access times. */
  readonly noatime: boolean;
}

/**
 * The flags in the words of mount(8). Root's mounts are as root's mounts of a local disk are: with setuid and devices. Nobody else may
 * have these: EPERM.
 */
export function flagWords(
  { readOnly, suid, dev, exec, noatime }: MountFlags,
  root = process.getuid?.() === 0,
): string[] {
  for (const [word, wanted] of Object.entries({ suid, dev })) {
    if (wanted && !root) throw new CairnError("EPERM", `mount with "${word}": only root may`);
  }
  const word = (name: string, on: boolean) => (on ? name : `no${name}`);
  const words = [readOnly ? "ro" : "rw", word("suid", suid ?? root), word("dev", dev ?? root), word("exec", exec)];
  return noatime ? [...words, "noatime"] : words;
}
