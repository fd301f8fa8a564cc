import { readFileSync } from "node:fs";

function read(): string {
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  return manifest.version;
}

/** The version of this software, from package.json two folders up from where this file is when built. */
export const VERSION: string = read();
