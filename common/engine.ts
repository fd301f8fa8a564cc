import { setFlagsFromString } from "node:v8";

/**
 * V8 lets so small a heap grow by half before it collects all of it, and counts the packets that pass through to that: it
 * may fall to marking the whole heap for every dozen packets, which doubles the processor time of a stream. With this it
 * waits for ten times the heap; what packets leave behind stays bounded by V8's limit for external memory, 64 MiB.
 */
const HEAP_FLAGS = "--heap-growing-percent=900";

/**
 * What a daemon does for every request is compiled and optimized after hundreds of them instead of thousands: by default V8 waits for more
 * signs that a function is worth it, as in a program that ends soon. And it stays compiled: V8 throws away the code of functions that were not
 * called between a few collections, and what it has learnt for optimizing them, so that a daemon through which a few hundred MiB have
 * streamed would do everything else as slowly as after its start. (Measured: docs/performance.md. All code of a daemon is a few MiB.)
 */
const CODE_FLAGS = [
  "--always-sparkplug",
  "--no-lazy-feedback-allocation",
  "--interrupt-budget=20000",
  "--no-flush-bytecode",
];

/**
 * What Node.js is started with for a daemon. V8 has one helper thread instead of four: they compile while the daemons' main threads
 * serve, and where there are not more processors than threads, those who wait for an answer wait for the helpers, too. (Cannot be set
 * later; the command's first line says the same for daemons that people start. Measured: docs/performance.md.)
 */
export const NODE_FLAGS: readonly string[] = ["--v8-pool-size=1"];

/** For a daemon: before it serves. */
export function tuneForRequests(): void {
  for (const flag of CODE_FLAGS) setFlagsFromString(flag);
}

/** For a process through which blocks stream: before its heap has grown. */
export function tuneForStreams(): void {
  setFlagsFromString(HEAP_FLAGS);
}
