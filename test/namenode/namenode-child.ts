// Runs a namenode as `cairn namenode` does, with the settings given as JSON.
import { loadSettings } from "../../common/settings.js";
import { runNamenode } from "../../namenode/main.js";
import { namenodeSettings } from "../../namenode/settings.js";

const flags = JSON.parse(process.argv[2] ?? "{}") as Record<string, unknown>;
await runNamenode(loadSettings("namenode", namenodeSettings, { flags }));
