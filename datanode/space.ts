import { CairnError } from "../common/errors.js";
import { MIB } from "../common/limits.js";

/** Bytes set aside on a volume for a replica that is being written. */
export interface Reservation {
  /** Says that bytes are about to be written. ENOSPC when they go beyond what was set aside and there is no room. */
  use(bytes: number): void;
  /** Gives back what was not used. May be called more than once. */
  release(): void;
}

/**
 * The space of one volume: what the file system had free when it was last asked, less what was written since, what is set
 * aside for open writers, and the reserve that CairnFS leaves alone.
 */
export class Space {
  readonly #path: string;
  readonly #reserve: number;
  #capacity = 0;
  #free = 0;
  #writtenSince = 0;
  #promised = 0;

  /** @param reserve bytes of the file system that are never used for blocks */
  constructor(path: string, reserve: number) {
    this.#path = path;
    this.#reserve = reserve;
  }

  /** Bytes the volume may use in all. */
  get capacity(): number {
    return Math.max(0, this.#capacity - this.#reserve);
  }

  /** Bytes that may still be set aside. */
  get available(): number {
    return Math.max(0, this.#free - this.#reserve - this.#writtenSince - this.#promised);
  }

  /** Takes in what the file system says now. */
  update(now: { capacity: number; free: number }): void {
    this.#capacity = now.capacity;
    this.#free = now.free;
    this.#writtenSince = 0;
  }

  /** Sets bytes aside. ENOSPC. */
  reserve(bytes: number): Reservation {
    this.#demand(bytes);
    let left = bytes;
    this.#promised += bytes;
    return {
      use: (n) => {
        const beyond = Math.max(0, n - left);
        if (beyond > 0) this.#demand(beyond);
        left -= n - beyond;
        this.#promised -= n - beyond;
        this.#writtenSince += n;
      },
      release: () => {
        this.#promised -= left;
        left = 0;
      },
    };
  }

  #demand(bytes: number): void {
    if (bytes <= this.available) return;
    const [wanted, left] = [bytes, this.available].map((n) => (n / MIB).toFixed(1));
    throw new CairnError("ENOSPC", `no room for ${wanted} MiB on ${this.#path} (${left} MiB left besides the reserve)`);
  }
}
