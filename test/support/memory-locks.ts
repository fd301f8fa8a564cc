import type { FileLocks, LockPlace, LostLocks } from "../../client/contract.js";
import { CairnError } from "../../common/errors.js";
import { LockTable } from "../../namenode/locks/table.js";
import type { FileLock, TakenLock } from "../../proto/lock.js";

const SESSION = 1;

/** The locks of a cluster that has one client. */
export class MemoryLocks implements FileLocks {
  readonly #table = new LockTable(({ ticket }, refusal) => {
    const waiting = this.#waiting.get(ticket);
    if (refusal) waiting?.reject(refusal);
    else waiting?.resolve();
  });
  readonly #waiting = new Map<number, { resolve: () => void; reject: (err: Error) => void }>();
  readonly #listeners: ((lost: readonly LostLocks[]) => void)[] = [];
  #tickets = 0;

  async test(lock: TakenLock): Promise<TakenLock | undefined> {
    return this.#table.test({ ...lock, session: SESSION });
  }

  async set(lock: FileLock, { wait, signal }: { wait?: boolean; signal?: AbortSignal } = {}): Promise<void> {
    const ticket = ++this.#tickets;
    if (this.#table.set({ ...lock, session: SESSION }, wait ? ticket : undefined) === "done") return;
    await new Promise<void>((resolve, reject) => {
      this.#waiting.set(ticket, { resolve, reject });
      signal?.addEventListener("abort", () => {
        this.#table.cancel(SESSION, ticket);
        reject(new CairnError("EINTR", "interrupted"));
      });
    }).finally(() => this.#waiting.delete(ticket));
  }

  holds({ ino, space, owner }: LockPlace): boolean {
    return this.#table.held({ session: SESSION, space, owner }, ino).length > 0;
  }

  onLost(listener: (lost: readonly LostLocks[]) => void): void {
    this.#listeners.push(listener);
  }

  /** The session ends at the namenode. */
  lose(lost: readonly LostLocks[]): void {
    this.#table.forget(SESSION);
    for (const listener of this.#listeners) listener(lost);
  }

  /** Ranges that are locked. */
  get count(): number {
    return this.#table.count;
  }
}
