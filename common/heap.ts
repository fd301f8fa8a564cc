import { setFlagsFromString } from "node:v8";

/**
 * V8 lets so small a heap grow by half before it collects all of it, and counts the packets that pass through to that: it
 * may fall to marking the whole heap for every dozen packets, which doubles the processor time of a stream. With this it
 * waits for ten times the heap; what packets leave behind stays bounded by V8's limit for external memory, 64 MiB.
 */
const HEAP_FLAGS = "--heap-growing-percent=900";

/** For a process through which blocks stream: before its heap has grown. */
export function tuneForStreams(): void {
  setFlagsFromString(HEAP_FLAGS);
}
