import { CairnError } from "../common/errors.js";

/** Files and directories that may be open at once in one mount. */
export const MAX_HANDLES = 65_536;

/** Open things by number. Numbers start at 1, fit 32 bits, and are used again. */
export class HandleTable<T extends object> {
  readonly #slots: (T | undefined)[] = [undefined];
  readonly #free: number[] = [];
  readonly #max: number;

  constructor(max = MAX_HANDLES) {
    this.#max = max;
  }

  /** Throws ENFILE when too many are open. To be called before what a handle needs is acquired. */
  reserve(): void {
    if (this.#free.length === 0 && this.#slots.length > this.#max) {
      throw new CairnError("ENFILE", `open more than ${this.#max} files in one mount`);
    }
  }

  /** Gives a number to an open thing. ENFILE. */
  add(value: T): number {
    this.reserve();
    const handle = this.#free.pop() ?? this.#slots.length;
    this.#slots[handle] = value;
    return handle;
  }

  /** EBADF when it is not open. */
  get(handle: number): T {
    const value = this.#slots[handle];
    if (!value) throw new CairnError("EBADF", `use handle ${handle}, which is not open`);
    return value;
  }

  /** Takes a handle out of the table. EBADF. */
  remove(handle: number): T {
    const value = this.get(handle);
    this.#slots[handle] = undefined;
    this.#free.push(handle);
    return value;
  }
}
