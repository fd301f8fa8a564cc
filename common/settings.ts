import { z } from "zod";
import { parseAddress } from "./address.js";
import { CairnError } from "./errors.js";

/** One setting of a daemon: what it means, its check, its default. */
export interface Setting<T = unknown> {
  /** One line for --help, with the unit. */
  readonly help: string;
  /** Checks and converts what came from a flag, the environment (strings) or a file (JSON values). */
  readonly schema: z.ZodType<T>;
  /** The value, as the schema gives it. Undefined: may be absent, or is required where the schema does not allow that. */
  readonly default: T | undefined;
}

export type SettingsTable = Record<string, Setting>;
/** The values of a table. */
export type SettingsOf<T extends SettingsTable> = { [K in keyof T]: z.output<T[K]["schema"]> };

/** Declares one setting. */
export function setting<S extends z.ZodType>(help: string, schema: S, fallback?: z.output<S>) {
  return { help, schema, default: fallback };
}

/** The flag of a setting: dataDir → --data-dir. */
export function flagOf(key: string): string {
  return `--${key.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;
}

/** The environment variable of a setting of a daemon: (namenode, dataDir) → CAIRN_NAMENODE_DATA_DIR. */
export function envOf(daemon: string, key: string): string {
  return `CAIRN_${daemon}_${key.replace(/[A-Z]/g, (c) => `_${c}`)}`.toUpperCase();
}

/**
 * The settings of a daemon, each from its flag, else its environment variable, else the file, else its default.
 * EINVAL names the setting, where it came from and what is wrong with it, also for a name in the file, or a variable with the
 * daemon's prefix, that is no setting.
 */
export function loadSettings<T extends SettingsTable>(
  daemon: string,
  table: T,
  sources: {
    flags?: Record<string, unknown>;
    env?: NodeJS.ProcessEnv;
    file?: Record<string, unknown>;
    filePath?: string;
    /** What holds, instead of the defaults, where none of the others says anything. */
    fallbacks?: Record<string, unknown>;
  },
): SettingsOf<T> {
  const { flags = {}, env = {}, file = {}, fallbacks = {} } = sources;
  for (const key of Object.keys(file)) {
    if (!Object.hasOwn(table, key)) {
      throw new CairnError("EINVAL", `unknown setting "${key}" for ${daemon} in ${sources.filePath}`);
    }
  }
  const known = new Set(Object.keys(table).map((key) => envOf(daemon, key)));
  for (const variable of Object.keys(env)) {
    if (variable.startsWith(envOf(daemon, "")) && !known.has(variable)) {
      throw new CairnError("EINVAL", `unknown setting for ${daemon}: environment variable ${variable}`);
    }
  }
  const out: Record<string, unknown> = {};
  for (const [key, { schema, default: fallback }] of Object.entries(table)) {
    const variable = envOf(daemon, key);
    const [value, from] =
      flags[key] !== undefined
        ? [flags[key], `flag ${flagOf(key)}`]
        : env[variable] !== undefined
          ? [env[variable], `environment variable ${variable}`]
          : file[key] !== undefined
            ? [file[key], `"${key}" in ${sources.filePath}`]
            : [fallbacks[key], `required: ${flagOf(key)} or ${variable}`];
    if (value === undefined && fallback !== undefined) {
      out[key] = fallback;
      continue;
    }
    const result = schema.safeParse(value);
    if (!result.success) {
      const why = result.error.issues.map((i) => i.message).join("; ");
      throw new CairnError("EINVAL", value === undefined ? from : `${from}: ${JSON.stringify(value)}: ${why}`);
    }
    out[key] = result.data;
  }
  return out as SettingsOf<T>;
}

/** A whole number in a range, also from a string. */
export function integer(min: number, max: number) {
  return z
    .union([z.number(), z.string()])
    .transform((v, ctx) => {
      const n = typeof v === "number" || /^-?\d+$/.test(v.trim()) ? Number(v) : Number.NaN;
      if (Number.isNaN(n)) ctx.addIssue({ code: "custom", message: "not a whole number" });
      return n;
    })
    .pipe(z.number().int().min(min).max(max));
}

const UNITS: Record<string, number> = { "": 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40, p: 2 ** 50 };

/** A number of bytes: 1048576, "1m", "1MiB", "64M". Units are powers of 1024. */
export function bytes(min: number, max: number = Number.MAX_SAFE_INTEGER) {
  return z
    .union([z.number(), z.string()])
    .transform((v, ctx) => {
      const m = /^(\d+(?:\.\d+)?)\s*([kmgtp]?)i?b?$/i.exec(String(v).trim());
      const n = m ? Math.round(Number(m[1]) * UNITS[m[2]!.toLowerCase()]!) : Number.NaN;
      if (Number.isNaN(n)) ctx.addIssue({ code: "custom", message: "not a size (examples: 1048576, 64m, 1g)" });
      return n;
    })
    .pipe(z.number().int().min(min).max(max));
}

/** The address of a namenode: http://host:port, ws://host:port, host:port or host. */
export const namenodeAddress = z.string().transform((text, ctx) => {
  const address = parseAddress(text);
  if (address !== undefined) return address;
  ctx.addIssue({ code: "custom", message: "not the URL of a namenode (http://host:port)" });
  return z.NEVER;
});

/** true/false, also as a string. */
export const flag = z.union([z.boolean(), z.enum(["true", "false"]).transform((v) => v === "true")], {
  error: "neither true nor false",
});
