// npm run faults: breaks real clusters, and checks what they promised (matrix.ts). As root. Imports nothing that a cluster needs:
// what is to be cleared away when a signal comes is the sandbox, and that is done here.
import { fileURLToPath } from "node:url";
import { inSandbox } from "./sandbox.js";

process.exitCode = await inSandbox(fileURLToPath(new URL("matrix.js", import.meta.url)), process.argv.slice(2));
