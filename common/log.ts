import { type Logger, pino } from "pino";

export type { Logger };

/** Severities, quietest first; "silent" is for tests. */
export const LOG_LEVELS = ["silent", "error", "warn", "info", "debug"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** A logger that writes JSON lines to standard output (a daemon's log file). Synchronous: the last line before a crash is there. */
export function createLogger(name: string, level: LogLevel): Logger {
  return pino(
    { name, level, base: { name, pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 1, sync: true }),
  );
}

/** A logger that says nothing. */
export const silentLogger: Logger = pino({ level: "silent" });
