import type { CommanderError } from "commander";
import { CairnError, codeOf, messageOf } from "../common/errors.js";

/** The command line, or a setting, is wrong: exit status 2. */
export class UsageError extends CairnError {
  constructor(message: string, cause?: unknown) {
    super("EINVAL", message, cause);
  }

  /** What commander found wrong. */
  static of(err: CommanderError): UsageError {
    return new UsageError(
      `${err.message
        .replace(/^error: /, "")
        .replace(/\.$/, "")
        .replaceAll("\n", " ")} (see --help)`,
    );
  }
}

/** A command has said itself, on its output, that something is wrong: exit status 1 without a further word. */
export class SaidFailure extends Error {}

/** Writes an error to standard error: `cairn: <sentence> (ERRNO)`, with the stacks of it and its causes when asked for. */
export function complain(err: unknown, verbose: boolean): void {
  if (err instanceof SaidFailure) return;
  process.stderr.write(`cairn: ${messageOf(err).trimEnd()} (${codeOf(err)})\n`);
  if (!verbose) return;
  for (let e: unknown = err; e instanceof Error; e = e.cause) process.stderr.write(`${e.stack}\n`);
}
