import { KIB, MIB } from "../common/limits.js";

/** Sequential readers of one file told apart at once. */
const MAX_STREAMS = 8;
/** How far out of order the reads of one sequential reader may come, bytes: the kernel sends several at once. */
const SLACK = 256 * KIB;
/** What is read ahead at first, bytes. */
const WINDOW_FIRST = 1 * MIB;
/** What is read ahead at most, bytes. */
export const WINDOW_MAX = 8 * MIB;

interface Stream {
  /** Where it has got to. */
  next: number;
  /** How far ahead it is worth reading; 0: it has read once. */
  window: number;
  /** What has been read ahead. */
  reach: number;
}

/** A range worth reading before it is asked for; `done` says how far that got. */
export interface Ahead {
  readonly from: number;
  readonly to: number;
  done(reach: number): void;
}

/** Finds out who reads a file front to back, and how far ahead of them to read. */
export class ReadAhead {
  readonly #streams: Stream[] = [];

  /** Takes note of a read of [from, to). Undefined when nothing says that more will follow. */
  note(from: number, to: number): Ahead | undefined {
    const slack = Math.max(SLACK, to - from);
    const index = this.#streams.findIndex(({ next }) => from <= next + slack && from >= next - slack);
    if (index < 0) {
      if (this.#streams.length >= MAX_STREAMS) this.#streams.shift();
      this.#streams.push({ next: to, window: 0, reach: to });
      return undefined;
    }
    const [stream] = this.#streams.splice(index, 1) as [Stream];
    this.#streams.push(stream);
    if (to > stream.next) {
      stream.next = to;
      stream.window = Math.min(WINDOW_MAX, Math.max(WINDOW_FIRST, stream.window * 2, 2 * (to - from)));
    }
    return {
      from: Math.max(stream.reach, stream.next),
      to: stream.next + stream.window,
      done: (reach) => {
        stream.reach = Math.max(stream.reach, reach);
      },
    };
  }
}
