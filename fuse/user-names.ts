import { execFile } from "node:child_process";
import { userInfo } from "node:os";
import { promisify } from "node:util";

/** Names that are remembered, at most. */
const MAX_USERS = 1024;
/** How long the machine's directory of users may take, ms. */
const LOOKUP_MS = 5_000;

const run = promisify(execFile);

/** The names of this machine's users, wherever it has them from. Whoever has none, or none that can be a folder's, goes by his number. */
export class UserNames {
  readonly #names = new Map<number, Promise<string>>();

  /** The name of a user. Never rejects. */
  of(uid: number): Promise<string> {
    let name = this.#names.get(uid);
    if (name !== undefined) return name;
    name = lookUp(uid).then((found) => (found === "" || found.includes("/") ? String(uid) : found));
    this.#names.set(uid, name);
    if (this.#names.size > MAX_USERS) this.#names.delete(this.#names.keys().next().value!);
    return name;
  }
}

async function lookUp(uid: number): Promise<string> {
  try {
    if (uid === process.getuid?.()) return userInfo().username;
    const { stdout } = await run("getent", ["passwd", String(uid)], { timeout: LOOKUP_MS });
    return stdout.split(":")[0] ?? "";
  } catch {
    return ""; // he has no name, or nobody can say it
  }
}
