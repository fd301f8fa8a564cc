import { setFlagsFromString } from "node:v8";

/**
 * V8 lets so small a heap grow by half before it collects all of it, and counts the packets that pass through to that: it
 * may fall to marking the whole heap for every dozen packets, which doubles the processor time of a stream. With this it
 * waits for ten times the heap; what packets leave behind stays bounded by V8's limit for external memory, 64 MiB.
 */
const HEAP_FLAGS = "--heap-growing-percent=900";

/**
 * V8 throws away the compiled code of functions that were not called between a few collections, and what it has learnt for
 * optimizing them. A daemon through which a few hundred MiB have streamed would do everything else as slowly as after its start
 * (measured: docs/performance.md). All code of a daemon is a few MiB.
 */
const CODE_FLAGS = "--no-flush-bytecode";

/** For a daemon: what it has not done for a while stays as fast as it was. */
export function keepCompiledCode(): void {
  setFlagsFromString(CODE_FLAGS);
}

/** For a process through which blocks stream: before its heap has grown. */
export function tuneForStreams(): void {
  setFlagsFromString(HEAP_FLAGS);
}
