// Figures as people read them.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/**
 * Bytes with three significant digits: "0 B", "1.50 MiB", "64.0 GiB", "512 GiB".
 * @param {number} n
 */
export function bytes(n) {
  let unit = 0;
  let value = n;
  // 999.5 would round to 1000: it moves on to "0.98" of the next unit.
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  if (unit === 0) return `${value} B`;
  return `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${UNITS[unit]}`;
}

const NUMBER = new Intl.NumberFormat("en");

/**
 * A whole number with separators: "1,234,567".
 * @param {number} n
 */
export function number(n) {
  return NUMBER.format(n);
}

/**
 * How many of what: "1 datanode", "3 datanodes".
 * @param {number} n
 * @param {string} noun
 */
export function count(n, noun) {
  return `${number(n)} ${noun}${n === 1 ? "" : "s"}`;
}

/**
 * A share as a percentage: "0%", "<1%", "42%". Only the whole is "100%".
 * @param {number} part
 * @param {number} whole
 */
export function percent(part, whole) {
  if (whole <= 0 || part <= 0) return "0%";
  const p = (part / whole) * 100;
  if (p < 1) return "<1%";
  return `${p >= 100 ? 100 : Math.min(99, Math.round(p))}%`;
}

/**
 * A stretch of time in its largest unit: "2 s", "5 min", "3 h", "12 d".
 * @param {number} ms
 */
export function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 2 * 86_400) return `${Math.floor(s / 3600)} h`;
  return `${number(Math.floor(s / 86_400))} d`;
}

const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/**
 * A moment in the reader's time zone: "14:02:11", on another day than `now` "3 Mar 14:02:11".
 * @param {number} ms
 * @param {number} now
 */
export function clock(ms, now) {
  const time = TIME.format(ms);
  return DAY.format(ms) === DAY.format(now) ? time : `${DAY.format(ms)} ${time}`;
}
