import { CairnError } from "../common/errors.js";

/** Name spaces that are kept. "system." is not: its names are access control lists, which the kernel would have to apply. */
const NAMESPACES = ["user.", "trusted.", "security."];

/** EOPNOTSUPP for the name of an extended attribute that is not kept; EINVAL for a name space without a name. */
export function checkXattrName(name: Buffer): void {
  const text = name.toString("latin1");
  const space = NAMESPACES.find((prefix) => text.startsWith(prefix));
  if (space === undefined) throw new CairnError("EOPNOTSUPP", `use extended attribute ${JSON.stringify(text)}`);
  if (text === space) throw new CairnError("EINVAL", `use an extended attribute without a name in ${space}`);
}
