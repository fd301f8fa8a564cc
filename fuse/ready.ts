/** What a mount that serves requests says of itself. */
export interface Announcement {
  readonly mountpoint: string;
  /** What speaks to the kernel: "kernel" or "fuse-native". */
  readonly binding: string;
}

/** Tells the process that started this one, where it listens (Node's IPC channel), and lets go of it. */
export function announce(mounted: Announcement): void {
  process.send?.(mounted, undefined, undefined, () => {
    // It may have gone: then nobody is waiting.
    if (process.connected) process.disconnect();
  });
}
