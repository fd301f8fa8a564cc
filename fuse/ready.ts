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

/** What a mount that is being started waits for: a sentence. */
export interface Delay {
  readonly waiting: string;
}

/** Tells the process that started this one, where it listens (Node's IPC channel), what the start waits for. */
export function announceDelay(delay: Delay): void {
  if (process.connected) process.send?.(delay);
}

/** Has this process end when the one that started it does not wait for it any more, until that was told how it went. */
export function endWithStarter(): void {
  process.once("disconnect", endAlone);
}

function endAlone(): never {
  process.exit(1);
}

/** Tells the process that started this one how it went, and lets go of it. */
export function announce(outcome: Announcement | Refusal): void {
  process.off("disconnect", endAlone);
  if (!process.connected) return;
  process.send?.(outcome, undefined, undefined, () => {
    // It may have gone: then nobody is waiting.
    if (process.connected) process.disconnect();
  });
}
