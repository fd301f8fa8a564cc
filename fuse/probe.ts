import { run } from "./deadline.js";

/** How long a mounted file system may take to answer statfs, ms. */
const ANSWER_MS = 3000;

/** "answers"; "dead": its daemon has gone ("Transport endpoint is not connected"); "silent": it does not answer in time. */
export type Health = "answers" | "dead" | "silent";

/** How a mount is. Asked by another process: this one must never wait for a daemon that may hang. */
export async function probe(mountpoint: string): Promise<Health> {
  const asked = await run("stat", ["-f", "--", mountpoint], ANSWER_MS);
  if (asked?.ok) return "answers";
  return asked !== undefined && /not connected|aborted/i.test(asked.said) ? "dead" : "silent";
}
