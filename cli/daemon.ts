import { readFileSync } from "node:fs";
import { type Command, Option } from "commander";
import { envOf, flagOf, loadSettings, type SettingsOf, type SettingsTable } from "../common/settings.js";
import { UsageError } from "./errors.js";

/** Largest settings file that is read, bytes. */
const MAX_SETTINGS_FILE = 1 << 20;

/** Gives a command a flag for every setting of a daemon, and --config. */
export function defineSettings(command: Command, daemon: string, table: SettingsTable): void {
  command.option("--config <file>", 'JSON file with settings, by their names in camel case: {"port": …}');
  for (const [key, { help, schema, default: fallback }] of Object.entries(table)) {
    const isSwitch = schema.safeParse(true).success;
    const required = fallback === undefined && !schema.safeParse(undefined).success;
    const notes = [
      ...(required ? ["required"] : fallback === undefined ? [] : [`default: ${JSON.stringify(fallback)}`]),
      `environment: ${envOf(daemon, key)}`,
    ];
    command.addOption(
      new Option(`${flagOf(key)} ${isSwitch ? "[true|false]" : "<value>"}`, `${help} (${notes.join("; ")})`),
    );
  }
}

/**
 * The settings of a daemon from flags, environment and file, else from `fallbacks`, else the defaults. UsageError when one is
 * unknown or wrong.
 */
export function readSettings<T extends SettingsTable>(
  daemon: string,
  table: T,
  options: Record<string, unknown>,
  fallbacks: Record<string, unknown> = {},
): SettingsOf<T> {
  const { config, ...flags } = options;
  try {
    const file = typeof config === "string" ? readSettingsFile(config) : undefined;
    return loadSettings(daemon, table, {
      flags,
      env: process.env,
      fallbacks,
      ...(file !== undefined && { file, filePath: config as string }),
    });
  } catch (err) {
    throw err instanceof UsageError ? err : new UsageError(`cannot start ${daemon}`, err);
  }
}

function readSettingsFile(path: string): Record<string, unknown> {
  let value: unknown;
  try {
    const text = readFileSync(path, "utf8");
    if (text.length > MAX_SETTINGS_FILE) throw new Error("it is too large");
    value = JSON.parse(text);
  } catch (err) {
    throw new UsageError(`cannot read the settings in ${path}`, err);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new UsageError(`cannot read the settings in ${path}: not a JSON object`);
  }
  return value as Record<string, unknown>;
}
