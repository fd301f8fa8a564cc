import type { Command } from "commander";
import { datanodeSettings } from "../datanode/settings.js";
import { defineSettings, readSettings } from "./daemon.js";

/** `cairn datanode`: runs one in the foreground, until SIGTERM or SIGINT. */
export function define(command: Command): void {
  defineSettings(command, "datanode", datanodeSettings);
  command.action(async (options: Record<string, unknown>) => {
    const settings = readSettings("datanode", datanodeSettings, options);
    const { runDatanode } = await import("../datanode/main.js");
    await runDatanode(settings);
  });
}
