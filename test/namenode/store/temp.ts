import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Makes a folder that is removed after the tests of the describe block it is called in. */
export function tempFolder(): { path: (...names: string[]) => string } {
  let root: string;
  before(() => {
    root = mkdtempSync(join(tmpdir(), "cairn-store-"));
  });
  after(() => rmSync(root, { recursive: true, force: true }));
  return { path: (...names) => join(root, ...names) };
}
