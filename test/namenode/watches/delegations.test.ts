import { expect } from "chai";
import { MAX_DELEGATIONS, RECALL_MS } from "../../../common/limits.js";
import { silentLogger } from "../../../common/log.js";
import { Delegations } from "../../../namenode/watches/delegations.js";
import type { Link } from "../../../proto/link.js";
import { ManualClock } from "../store/manual-clock.js";

const [A, B] = [1, 2];

describe("delegations of directories", () => {
  let clock: ManualClock;
  let recalled: number[];
  let delegations: Delegations;

  beforeEach(() => {
    clock = new ManualClock();
    recalled = [];
    const link = { push: (_method: unknown, { dirs }: { dirs: number[] }) => recalled.push(...dirs) };
    delegations = new Delegations({ clock, log: silentLogger, link: () => link as unknown as Link });
  });

  /** Whether a promise has been resolved. */
  const isOver = (promise: Promise<void> | undefined) =>
    Promise.race([promise?.then(() => true), new Promise((resolve) => setImmediate(() => resolve(false)))]);

  it("are one client's, until another comes and it has given them back", async () => {
    expect(delegations.recall(7, B)).to.equal(undefined);
    expect(delegations.grant(7, A)).to.equal(true);
    expect(delegations.grant(7, A)).to.equal(true);
    expect(delegations.grant(7, B)).to.equal(false);
    expect(delegations.recall(7, A)).to.equal(undefined);
    const first = delegations.recall(7, B);
    const second = delegations.recall(7, undefined);
    expect(recalled).to.deep.equal([7]);
    expect(delegations.grant(7, A), "while it is being recalled").to.equal(false);
    expect(await isOver(first)).to.equal(false);
    delegations.returned(B, [7]);
    expect(await isOver(first), "not B's to give back").to.equal(false);
    delegations.returned(A, [7, 8]);
    expect([await isOver(first), await isOver(second), delegations.size]).to.deep.equal([true, true, 0]);
    expect(delegations.grant(7, B)).to.equal(true);
  });

  it("are taken from a client that does not answer, and end with its session", async () => {
    delegations.grant(7, A);
    delegations.grant(8, A);
    delegations.grant(9, A);
    const seven = delegations.recall(7, B);
    clock.advance(RECALL_MS - 1);
    expect(await isOver(seven)).to.equal(false);
    clock.advance(1);
    expect(await isOver(seven)).to.equal(true);
    const eight = delegations.recall(8, B);
    delegations.ended(A);
    expect([await isOver(eight), delegations.size]).to.deep.equal([true, 0]);
  });

  it("are recalled by several at a time", async () => {
    for (const dir of [7, 8, 9]) delegations.grant(dir, A);
    const recall = delegations.recallAmong((dir) => dir > 7);
    expect(recalled).to.deep.equal([8, 9]);
    delegations.returned(A, [8]);
    expect(await isOver(recall)).to.equal(false);
    delegations.returned(A, [9]);
    expect([await isOver(recall), delegations.size]).to.deep.equal([true, 1]);
  });

  it("are so many for one client, and no more", () => {
    for (let dir = 1; dir <= MAX_DELEGATIONS; dir++) expect(delegations.grant(dir, A)).to.equal(true);
    expect(delegations.grant(MAX_DELEGATIONS + 1, A)).to.equal(false);
    expect(delegations.grant(MAX_DELEGATIONS + 1, B)).to.equal(true);
    delegations.returned(A, [1]);
    expect(delegations.grant(MAX_DELEGATIONS + 2, A)).to.equal(true);
  });
});
