/** What became of one case. */
export interface Row {
  readonly name: string;
  readonly what: string;
  readonly result: "kept" | "BROKEN" | "skipped";
  /** What was done, seen, or went wrong. */
  readonly notes: readonly string[];
}

/** A time for people. */
export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** The outcome as a table of Markdown. */
export function tableOf(rows: readonly Row[]): string {
  const cell = (text: string): string => text.replaceAll("\n", " ").replaceAll("|", "\\|");
  const lines = rows.map(({ name, what, result, notes }) => [name, what, result, notes.join("; ")].map(cell));
  return [["case", "what is done", "promises", "seen"], ["---", "---", "---", "---"], ...lines]
    .map((cells) => `| ${cells.join(" | ")} |`)
    .join("\n");
}
