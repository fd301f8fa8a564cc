// Copies what tsc does not: generated message code is already JavaScript (tsc copies it), assets are not.
import { cpSync, existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const assets = "namenode/http/assets";
if (existsSync(join(root, assets))) cpSync(join(root, assets), join(root, "dist", assets), { recursive: true });
