import { readFileSync } from "node:fs";
import { CairnError } from "./errors.js";

/**
 * The cluster's secret: the text of a file, without white space around it. Undefined when there is no path. EINVAL when
 * the file cannot be read or is empty.
 */
export function readSecret(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  let secret: string;
  try {
    secret = readFileSync(path, "utf8").trim();
  } catch (err) {
    throw new CairnError("EINVAL", `cannot read the cluster's secret in ${path}`, err);
  }
  if (secret === "") throw new CairnError("EINVAL", `the file of the cluster's secret, ${path}, is empty`);
  return secret;
}
