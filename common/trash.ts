// The trash: what is removed goes, as long as the namenode keeps any, to /.trash/<user>/<day>/<its path>.

/** The folder of the trash, in the root. */
export const TRASH = ".trash";

const DAY_MS = 24 * 3_600_000;

/** The folder of a day (UTC): "2026-11-29". */
export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** When the day of such a folder ends, ms since 1970; undefined for a name that is no day's. */
export function endOfDay(day: string): number | undefined {
  const begin = /^\d{4}-\d\d-\d\d$/.test(day) ? Date.parse(`${day}T00:00:00Z`) : Number.NaN;
  return Number.isNaN(begin) ? undefined : begin + DAY_MS;
}
