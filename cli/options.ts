import { InvalidArgumentError } from "commander";
import { bytes } from "../common/settings.js";

/** A parser for a flag that takes a whole number in a range. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const n = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(n >= min && n <= max)) throw new InvalidArgumentError(`Not a whole number from ${min} to ${max}.`);
    return n;
  };
}

/** A parser for a flag that takes a number of bytes in a range: 1048576, 64m. */
export function byteSize(min: number, max: number): (text: string) => number {
  const schema = bytes(min, max);
  return (text) => {
    const result = schema.safeParse(text);
    if (result.success) return result.data;
    throw new InvalidArgumentError(`${result.error.issues.map((issue) => issue.message).join("; ")}.`);
  };
}

const SPANS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A parser for a flag that takes a time: 90s, 30m, 2h, 1d. Milliseconds. */
export function timeSpan(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim());
  const ms = match === null ? 0 : Math.round(Number(match[1]) * SPANS[match[2]!]!);
  if (ms <= 0) throw new InvalidArgumentError("Not a time (examples: 90s, 30m, 2h, 1d).");
  return ms;
}

/** A parser for a flag that takes a percentage above 0: 10%, 0.5%. A share of 1, to a millionth. */
export function percentage(text: string): number {
  const match = /^(\d+(?:\.\d+)?)%?$/.exec(text.trim());
  const share = match === null ? 0 : Math.round(Number(match[1]) * 10_000) / 1e6;
  if (!(share > 0 && share <= 1)) throw new InvalidArgumentError("Not a percentage (examples: 10%, 0.5%).");
  return share;
}
