import type { Status } from "./status.js";

/** How the cluster is, in words. */
export interface Health {
  /** "healthy"; "warning": redundancy is reduced; "error": data cannot be read; "empty": no datanode has ever come */
  state: "healthy" | "warning" | "error" | "empty";
  /** One clear sentence without a full stop. */
  summary: string;
  /** What else there is to know, most important first; may be empty. */
  details: string[];
}

type Facts = Pick<Status, "blocks" | "underReplicated" | "missing" | "corrupt" | "pendingReplications" | "datanodes">;

/** What an operator should know first: the worst thing is the summary, the others are details. */
export function healthOf(facts: Facts): Health {
  const { blocks, underReplicated, missing, corrupt, pendingReplications, datanodes } = facts;
  // Whoever is in maintenance is meant to be away, and whoever is decommissioned to be gone.
  const counted = datanodes.filter((d) => d.service !== "in maintenance" && d.service !== "decommissioned");
  const inState = (state: string) => counted.filter((d) => d.state === state).length;
  const [dead, suspect] = [inState("dead"), inState("suspect")];
  const failed = datanodes.reduce((n, d) => n + (d.state === "dead" ? 0 : d.volumes.filter((v) => v.failed).length), 0);

  const errors: string[] = [];
  const warnings: string[] = [];
  if (missing > 0) errors.push(`${count(missing, "block")} missing: no live datanode has a copy`);
  if (datanodes.length > 0 && datanodes.every((d) => d.state === "dead")) errors.push("No datanode is alive");
  if (underReplicated > 0) {
    const repair = pendingReplications > 0 ? "re-replicating" : "waiting for a datanode to copy to";
    warnings.push(`${count(underReplicated, "block")} under-replicated, ${repair}`);
  }
  if (corrupt > 0) warnings.push(`${count(corrupt, "corrupt replica")}, to be replaced from good ones`);
  if (dead > 0) warnings.push(`${count(dead, "datanode")} dead`);
  if (failed > 0) warnings.push(`${count(failed, "volume")} failed`);
  if (suspect > 0) warnings.push(`${count(suspect, "datanode")} not heard from for a moment`);

  const [summary, ...details] = [...errors, ...warnings];
  if (summary !== undefined) return { state: errors.length > 0 ? "error" : "warning", summary, details };
  if (datanodes.length === 0) return { state: "empty", summary: "No datanodes yet", details: [] };
  const copies = blocks === 0 ? [] : ["Every block has all the copies it should have"];
  return { state: "healthy", summary: "Healthy", details: copies };
}

function count(n: number, noun: string): string {
  return `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
}
