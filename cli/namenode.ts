import type { Command } from "commander";
import { namenodeSettings } from "../namenode/settings.js";
import { defineSettings, readSettings } from "./daemon.js";

/** `cairn namenode`: runs one in the foreground, until SIGTERM or SIGINT. */
export function define(command: Command): void {
  defineSettings(command, "namenode", namenodeSettings);
  command.action(async (options: Record<string, unknown>) => {
    const settings = readSettings("namenode", namenodeSettings, options);
    const { runNamenode } = await import("../namenode/main.js");
    await runNamenode(settings);
  });
}
