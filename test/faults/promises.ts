// What a program was promised, from a list of what it did: a file system may do with everything that is not acknowledged yet as it
// likes, as long as it is either there or not. Nothing else may be lost, altered, or appear.
import { createCipheriv, createHash } from "node:crypto";

/** What a load does to its files. A name means one file at a time; the load never touches again a name that is in doubt. */
export type Op =
  /** open(2) with O_CREAT and O_EXCL: the name is promised when the file has been synced, closed or renamed (docs/durability.md). */
  | { readonly op: "create"; readonly name: string }
  /** write(2) of contentOf(key, length): not promised before fsync or close. */
  | { readonly op: "write"; readonly name: string; readonly at: number; readonly length: number; readonly key: string }
  /** What was written is promised when it has returned. */
  | { readonly op: "fsync" | "close"; readonly name: string }
  /** rename(2), over another file or not. */
  | { readonly op: "rename"; readonly name: string; readonly to: string }
  | { readonly op: "unlink"; readonly name: string };

/** A line of a load's journal: a worker begins something, or it has ended: with 0, or the code of an error. */
export type Entry = { readonly worker: number } & ({ readonly begin: Op } | { readonly end: 0 | string });

/** The bytes that a write with a key writes. */
export function contentOf(key: string, length: number): Buffer {
  const secret = createHash("sha256").update(key).digest();
  return createCipheriv("aes-128-ctr", secret.subarray(0, 16), secret.subarray(16)).update(Buffer.alloc(length));
}

interface Write {
  readonly at: number;
  readonly length: number;
  readonly key: string;
}

const endOf = (writes: readonly Write[]): number => Math.max(0, ...writes.map((w) => w.at + w.length));

/** The content of one file: what is promised, and writes that are not yet. */
class Content {
  readonly #firm: Write[] = [];
  readonly #loose: Write[] = [];
  /** Whether its name is promised. */
  isBorn = false;

  write(write: Write): void {
    this.#loose.push(write);
  }

  /** Everything written so far is promised. */
  settle(): void {
    this.isBorn = true;
    this.#firm.push(...this.#loose.splice(0));
  }

  get size(): number {
    return Math.max(endOf(this.#firm), endOf(this.#loose));
  }

  /** What the program that wrote it reads. */
  written(): Buffer {
    return render([...this.#firm, ...this.#loose]);
  }

  /** What is wrong with what was found; undefined when it is a content that the file may have. */
  problem(found: Buffer): string | undefined {
    const firm = render(this.#firm);
    if (found.length < firm.length) return `${found.length} bytes, but ${firm.length} were acknowledged`;
    if (found.length > this.size) return `${found.length} bytes, but never more than ${this.size} were written`;
    if (this.#loose.length === 0) return difference(found, firm);
    const loose = this.#loose.map((w) => ({ ...w, bytes: contentOf(w.key, w.length) }));
    for (let i = 0; i < found.length; i++) {
      if (i < firm.length && found[i] === firm[i]) continue;
      if (!loose.some(({ at, bytes }) => found[i] === bytes[i - at]))
        return `byte ${i} of ${found.length} is none that was written`;
    }
    return undefined;
  }
}

function render(writes: readonly Write[]): Buffer {
  const out = Buffer.alloc(endOf(writes));
  for (const { at, length, key } of writes) contentOf(key, length).copy(out, at);
  return out;
}

function difference(found: Buffer, wanted: Buffer): string | undefined {
  if (found.equals(wanted)) return undefined;
  const at = found.findIndex((byte, i) => byte !== wanted[i]);
  let end = found.length;
  while (end > at && found[end - 1] === wanted[end - 1]) end -= 1;
  return `bytes ${at} to ${end} of ${found.length} are not the acknowledged ones`;
}

/** What may be under a name: a file with a content, or nothing. */
type State = Content | undefined;

/** Everything that one load did and was promised. Follows its journal, entry by entry. */
export class Promises {
  readonly #names = new Map<string, State[]>();
  readonly #doubted = new Set<string>();
  readonly #underWay = new Map<number, Op>();
  #acknowledged = 0;

  /** Promises so far: calls that returned without an error. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Names in doubt: an error, or no answer at all, came for something done to them. */
  get doubted(): number {
    return this.#doubted.size;
  }

  /** Every name there ever was. */
  get names(): Iterable<string> {
    return this.#names.keys();
  }

  /** What has been begun and not ended. */
  get underWay(): Iterable<Op> {
    return this.#underWay.values();
  }

  apply(entry: Entry): void {
    if ("begin" in entry) {
      this.#underWay.set(entry.worker, entry.begin);
      if (entry.begin.op === "write") this.#content(entry.begin.name).write(entry.begin);
      return;
    }
    const op = this.#underWay.get(entry.worker);
    if (op === undefined) throw new Error(`worker ${entry.worker} ended what it had not begun`);
    this.#underWay.delete(entry.worker);
    if (entry.end === 0) this.#done(op);
    else this.#unknown(op);
  }

  /** The program has ended: nothing under way will be answered any more. */
  end(): void {
    for (const op of this.#underWay.values()) this.#unknown(op);
    this.#underWay.clear();
  }

  /** Whether something done to a name failed: it is not to be used any more. */
  inDoubt(name: string): boolean {
    return this.#doubted.has(name);
  }

  /** Size of a file that is not in doubt, bytes. */
  size(name: string): number {
    return this.#content(name).size;
  }

  /** What the program reads from a file that is not in doubt. */
  written(name: string): Buffer {
    return this.#content(name).written();
  }

  /** What is wrong with what was found under a name (undefined: nothing was there); undefined when nothing is. */
  problem(name: string, found: Buffer | undefined): string | undefined {
    const states = this.#names.get(name);
    if (states === undefined) return found === undefined ? undefined : "nobody made it";
    const problems = states.map((state) => {
      if (found === undefined) return state?.isBorn ? "it is gone" : undefined;
      return state === undefined ? "it should be gone" : state.problem(found);
    });
    return problems.includes(undefined) ? undefined : problems.join("; or: ");
  }

  #done(op: Op): void {
    this.#acknowledged += 1;
    if (op.op === "create") this.#names.set(op.name, [new Content()]);
    else if (op.op === "fsync" || op.op === "close") this.#content(op.name).settle();
    else if (op.op === "unlink") this.#names.set(op.name, [undefined]);
    else if (op.op === "rename") {
      const content = this.#content(op.name);
      content.isBorn = true;
      this.#names.set(op.to, [content]);
      this.#names.set(op.name, [undefined]);
    }
  }

  #unknown(op: Op): void {
    this.#doubted.add(op.name);
    const before = this.#names.get(op.name) ?? [undefined];
    if (op.op === "create") this.#names.set(op.name, [...before, new Content()]);
    else if (op.op === "unlink") this.#names.set(op.name, [...before, undefined]);
    else if (op.op === "rename") {
      this.#doubted.add(op.to);
      this.#names.set(op.to, [...(this.#names.get(op.to) ?? [undefined]), ...before]);
      this.#names.set(op.name, [...before, undefined]);
    }
  }

  #content(name: string): Content {
    const [state, ...others] = this.#names.get(name) ?? [];
    if (state === undefined || others.length > 0) throw new Error(`${name} is not known to be a file`);
    return state;
  }
}
