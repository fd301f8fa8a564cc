/** What a mount that serves requests says of itself. */
export interface Announcement {
  readonly mountpoint: string;
  /** What speaks to the kernel: "kernel" or "fuse-native". */
  readonly binding: string;
}

/** Why a mount could not be made: the sentence and the errno of the error. */
export interface Refusal {
  readonly refused: string;
  readonly code: string;
}

/** Tells the process that started this one, where it listens (Node's IPC channel), how it went, and lets go of it. */
export function announce(outcome: Announcement | Refusal): void {
  if (!process.connected) return;
  process.send?.(outcome, undefined, undefined, () => {
    // It may have gone: then nobody is waiting.
    if (process.connected) process.disconnect();
  });
}
