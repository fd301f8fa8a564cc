import { CairnError } from "../common/errors.js";

/** Name spaces that are kept. "system." is not: its names are access control lists, which the kernel would have to apply. */
const NAMESPACES = ["user.", "trusted.", "security."];

/** EOPNOTSUPP for the name of an extended attribute that is not kept. */
export function checkXattrName(name: Buffer): void {
  const text = name.toString("latin1");
  if (!NAMESPACES.some((space) => text.startsWith(space))) {
    throw new CairnError("EOPNOTSUPP", `use extended attribute ${JSON.stringify(text)}`);
  }
}
