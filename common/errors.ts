import { constants } from "node:os";

/** Name of a Linux errno, as in errno(3). */
export type ErrnoName = keyof typeof constants.errno | "ENOATTR" | "ENODATA" | "ESTALE" | "EDQUOT";

/** Numbers that os.constants lacks on some platforms. */
const EXTRA: Record<string, number> = { ESTALE: 116, EDQUOT: 122, ENODATA: 61, ENOATTR: 61, EHOSTDOWN: 112 };

/**
 * Errnos that are answers to everyday questions (is there such a name, such an attribute?), thousands a second: where they
 * came from is of no interest, and finding it out costs more than all the rest of the answer.
 */
const ANSWERS: ReadonlySet<string> = new Set(["ENOENT", "ENODATA", "EEXIST", "ESTALE", "EAGAIN"]);

/**
 * The error of everything in CairnFS: an errno name for programs and a sentence for people that says what was attempted
 * on what, and the cause. It crosses the wire as WireError and leaves the mount as its errno.
 */
export class CairnError extends Error {
  override readonly name = "CairnError";
  readonly code: string;

  /**
   * @param code errno name, for example "ENOENT"
   * @param message what was attempted on what and why it failed, without the code
   * @param cause the underlying error, whose text is added to the message
   */
  constructor(code: string, message: string, cause?: unknown) {
    const { stackTraceLimit } = Error;
    if (ANSWERS.has(code)) Error.stackTraceLimit = 0;
    super(
      cause === undefined ? message : `${message}: ${messageOf(cause)}`,
      cause === undefined ? undefined : { cause },
    );
    Error.stackTraceLimit = stackTraceLimit;
    this.code = code;
  }
}

/** The text of anything thrown. */
export function messageOf(err: unknown): string {
  return err instanceof Error ? err.message : String(err);
}

/** The errno name of anything thrown; EIO when it has none that Linux knows. */
export function codeOf(err: unknown): string {
  const code = (err as { code?: unknown } | null)?.code;
  return typeof code === "string" && errnoNumber(code) !== undefined ? code : "EIO";
}

/** The (positive) number of an errno name; undefined for a name that is none. */
export function errnoNumber(code: string): number | undefined {
  return (constants.errno as Record<string, number>)[code] ?? EXTRA[code];
}

/** Wraps anything thrown so that it says what was attempted; keeps its errno. */
export function wrap(err: unknown, attempted: string): CairnError {
  return new CairnError(codeOf(err), attempted, err);
}

/**
 * A broken invariant: the state cannot be trusted any more, so the process stops ("better down than wrong").
 * Never caught but by the process's last handler.
 */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

/**
 * Throws InvariantError unless `ok`.
 * @param message says what must hold; a function where it is checked so often that making the text would be felt
 */
export function invariant(ok: boolean, message: string | (() => string)): asserts ok {
  if (!ok) throw new InvariantError(typeof message === "string" ? message : message());
}
