import { InvariantError } from "../../common/errors.js";
import type { Edit } from "../../proto/gen/types.js";
import type { Effects } from "../contract.js";
import type { KeyValue } from "../store/kv.js";
import { access } from "./edits/access.js";
import { removeXattr, setAttributes, setXattr } from "./edits/attributes.js";
import { forgetCalls, recordCall } from "./edits/calls.js";
import { Change } from "./edits/change.js";
import {
  administerDatanode,
  format,
  recount,
  registerDatanode,
  reserveBlockIds,
  reserveGenerations,
  reserveInodes,
  restore,
} from "./edits/cluster.js";
import { clone, commit, fallocate } from "./edits/content.js";
import { release, releaseAll } from "./edits/held.js";
import { forgetLocking, lockingSession } from "./edits/locking.js";
import { create, link, rename, unlink } from "./edits/names.js";
import { adopt, countQuota, setQuota } from "./edits/quotas.js";
import { reclaim } from "./edits/reclaim.js";
import { createSnapshot, deleteSnapshot, forgetVersions } from "./edits/snapshots.js";

/**
 * Applies an edit to the store: the one function that changes it. Deterministic: reads no clock, draws no random number,
 * does no I/O but the store, so that the same edits in the same order give the same store. The edit has been validated
 * (live) or was once (replayed); one that does not fit the store breaks an invariant.
 */
export function apply(edit: Edit, kv: KeyValue): Effects {
  const change = new Change(edit, kv);
  applyOperation(change, edit);
  change.settle();
  if (edit.call !== null) recordCall(change, edit.call);
  return change.effects;
}

function applyOperation(change: Change, edit: Edit): void {
  if (edit.create !== null) return create(change, edit.create);
  if (edit.commit !== null) return commit(change, edit.commit);
  if (edit.setAttributes !== null) return setAttributes(change, edit.setAttributes);
  if (edit.unlink !== null) return unlink(change, edit.unlink);
  if (edit.rename !== null) return rename(change, edit.rename);
  if (edit.link !== null) return link(change, edit.link);
  if (edit.reclaim !== null) return reclaim(change, edit.reclaim);
  if (edit.setXattr !== null) return setXattr(change, edit.setXattr);
  if (edit.removeXattr !== null) return removeXattr(change, edit.removeXattr);
  if (edit.access !== null) return access(change, edit.access);
  if (edit.reserveBlockIds !== null) return reserveBlockIds(change, edit.reserveBlockIds.next);
  if (edit.reserveGenerations !== null) return reserveGenerations(change, edit.reserveGenerations.next);
  if (edit.reserveInodes !== null) return reserveInodes(change, edit.reserveInodes.next);
  if (edit.release !== null) return release(change, edit.release);
  if (edit.forgetSession !== null) return forgetSession(change, edit.forgetSession.session);
  if (edit.lockingSession !== null) return lockingSession(change, edit.lockingSession.session);
  if (edit.fallocate !== null) return fallocate(change, edit.fallocate);
  if (edit.clone !== null) return clone(change, edit.clone);
  if (edit.registerDatanode !== null) return registerDatanode(change, edit.registerDatanode);
  if (edit.administerDatanode !== null) return administerDatanode(change, edit.administerDatanode);
  if (edit.recount !== null) return recount(change, edit.recount);
  if (edit.setQuota !== null) return setQuota(change, edit.setQuota);
  if (edit.countQuota !== null) return countQuota(change, edit.countQuota);
  if (edit.createSnapshot !== null) return createSnapshot(change, edit.createSnapshot);
  if (edit.deleteSnapshot !== null) return deleteSnapshot(change, edit.deleteSnapshot);
  if (edit.forgetVersions !== null) return forgetVersions(change, edit.forgetVersions);
  if (edit.adopt !== null) return adopt(change, edit.adopt);
  if (edit.restore !== null) return restore(change, edit.restore);
  if (edit.format !== null) return format(change, edit.format);
  throw new InvariantError(`edit ${change.index} does something this version knows`);
}

/** A session has ended: nobody will repeat its calls, nor use what it held. */
function forgetSession(change: Change, session: number): void {
  releaseAll(change, session);
  forgetCalls(change, session);
  forgetLocking(change, session);
}
