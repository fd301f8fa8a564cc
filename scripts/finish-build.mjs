// What tsc leaves to do: assets are copied, the command is made executable, output whose source is gone is removed (else
// mocha would run the tests of yesterday).
import { chmodSync, cpSync, existsSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const assets = "namenode/http/assets";

const source = /^(.*)\.(c?)js(\.map)?$/;
for (const entry of readdirSync(join(root, "dist"), { recursive: true, withFileTypes: true })) {
  const path = join(entry.parentPath, entry.name).slice(join(root, "dist/").length);
  const [, stem, c] = source.exec(path) ?? [];
  if (stem === undefined || path.startsWith(assets)) continue;
  const exists = [`${stem}.${c}ts`, `${stem}.${c}js`].some((name) => existsSync(join(root, name)));
  if (!exists) rmSync(join(root, "dist", path));
}

if (existsSync(join(root, assets))) cpSync(join(root, assets), join(root, "dist", assets), { recursive: true });
chmodSync(join(root, "dist/cli/cairn.cjs"), 0o755);
