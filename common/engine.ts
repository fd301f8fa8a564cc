import { setFlagsFromString } from "node:v8";

/**
 * V8 lets a small heap grow by half before it collects all of it, and counts the packets that pass through to that: it
 * may fall to marking the whole heap for every dozen packets, which doubles the processor time of a stream. With this it
 * waits for ten times the heap; what packets leave behind stays bounded by V8's limit for external memory, 64 MiB.
 */
const STREAM_HEAP_FLAG = "--heap-growing-percent=900";

/**
 * A namenode's heap is small, too, and what it holds until the store is flushed is garbage soon after: a quarter of its processor time went into
 * collecting all of the heap again and again. Three times the heap costs some 50 MiB.
 */
const REQUEST_HEAP_FLAG = "--heap-growing-percent=200";

/**
 * What a daemon has compiled stays compiled: V8 throws away the code of functions that were not called between a few collections, and
 * what it has learnt for optimizing them, so that a daemon through which a few hundred MiB have streamed would do everything else as slowly
 * as after its start. And it is compiled at once, without interpreting it first. (Measured: docs/performance.md. All code of a daemon is a few MiB.)
 */
const CODE_FLAGS = ["--always-sparkplug", "--no-lazy-feedback-allocation", "--no-flush-bytecode"];

/**
 * Optimizes after hundreds of calls instead of thousands: by default V8 waits for more signs that a function is worth it, as in a program that
 * ends soon.
 */
const EAGER_FLAG = "--interrupt-budget=20000";

/**
 * What Node.js is started with for a daemon. V8 has one helper thread instead of four: they compile while the daemons' main threads
 * serve, and where there are not more processors than threads, those who wait for an answer wait for the helpers, too. (Cannot be set
 * later; the command's first line says the same for daemons that people start. Measured: docs/performance.md.)
 */
export const NODE_FLAGS: readonly string[] = ["--v8-pool-size=1"];

/** For any daemon: before it serves. */
export function tuneForService(): void {
  for (const flag of CODE_FLAGS) setFlagsFromString(flag);
}

/**
 * For a daemon of many small requests, too. Not for datanodes: what they do for a MiB is little, and optimizing it early took more from their
 * first streams than it gave.
 */
export function tuneForRequests(): void {
  setFlagsFromString(EAGER_FLAG);
  setFlagsFromString(REQUEST_HEAP_FLAG);
}

/** For a process through which blocks stream, also if it answers requests (then after that is said): before its heap has grown. */
export function tuneForStreams(): void {
  setFlagsFromString(STREAM_HEAP_FLAG);
}
