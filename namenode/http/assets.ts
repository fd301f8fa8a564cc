import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

/** A file of the status page, held in memory. */
export interface Asset {
  readonly type: string;
  readonly body: Buffer;
  readonly etag: string;
}

const HTML = "text/html; charset=utf-8";
const CSS = "text/css; charset=utf-8";
const JS = "text/javascript; charset=utf-8";
const SVG = "image/svg+xml";

/** Every path that is a file, and which: what is not in this table cannot be asked for. */
const FILES: Readonly<Record<string, readonly [file: string, type: string]>> = {
  "/": ["index.html", HTML],
  "/style.css": ["style.css", CSS],
  "/lists.css": ["lists.css", CSS],
  "/app.js": ["app.js", JS],
  "/datanodes.js": ["datanodes.js", JS],
  "/format.js": ["format.js", JS],
  "/live.js": ["live.js", JS],
  "/icon.svg": ["icon.svg", SVG],
};

/** Reads the assets that lie beside this module (scripts/copy-assets.mjs puts them there), by URL path. */
export function loadAssets(): ReadonlyMap<string, Asset> {
  const assets = new Map<string, Asset>();
  for (const [path, [file, type]] of Object.entries(FILES)) {
    const body = readFileSync(new URL(`assets/${file}`, import.meta.url));
    const etag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
    assets.set(path, { type, body, etag });
  }
  return assets;
}
