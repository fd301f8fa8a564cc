import { expect } from "chai";
import { healthOf } from "../../../namenode/http/health.js";
import { statusJson } from "../../../namenode/http/status.js";
import { type FakeStatus, fakeCluster } from "./fake.js";

describe("namenode/http/health", () => {
  const health = (change: (status: FakeStatus) => void, datanodes = 3) => {
    const status = fakeCluster(datanodes);
    change(status);
    return healthOf(statusJson(status, Date.now()));
  };

  it("is healthy when every block has its copies", () => {
    expect(health(() => {})).to.include({ state: "healthy", summary: "Healthy" });
  });

  it("promises nothing of blocks where there are none", () => {
    const fresh = health((s) => {
      s.blocks = 0;
    });
    expect(fresh).to.deep.equal({ state: "healthy", summary: "Healthy", details: [] });
  });

  it("is not alarmed by datanodes that are away for maintenance or decommissioned", () => {
    const away = health((s) => {
      Object.assign(s.datanodes[0]!, { state: "dead", service: "in maintenance" });
      Object.assign(s.datanodes[1]!, { state: "dead", service: "decommissioned" });
    });
    expect(away.state).to.equal("healthy");
    const early = health((s) => Object.assign(s.datanodes[0]!, { state: "dead", service: "decommissioning" }));
    expect(early.summary).to.equal("1 datanode dead");
  });

  it("says what is under way", () => {
    const repairing = health((s) => Object.assign(s, { underReplicated: 12, pendingReplications: 12 }));
    expect(repairing.state).to.equal("warning");
    expect(repairing.summary).to.equal("12 blocks under-replicated, re-replicating");
    const stuck = health((s) => Object.assign(s, { underReplicated: 1 }));
    expect(stuck.summary).to.equal("1 block under-replicated, waiting for a datanode to copy to");
  });

  it("puts the worst first and keeps the rest", () => {
    const bad = health((s) => {
      Object.assign(s, { missing: 3, underReplicated: 1200, pendingReplications: 5, corrupt: 1 });
      s.datanodes[0]!.state = "dead";
      s.datanodes[1]!.state = "suspect";
      s.datanodes[2]!.volumes = [{ path: "/data/1", failed: true, error: "EIO" }];
    });
    expect(bad.state).to.equal("error");
    expect([bad.summary, ...bad.details]).to.deep.equal([
      "3 blocks missing: no live datanode has a copy",
      "1,200 blocks under-replicated, re-replicating",
      "1 corrupt replica, to be replaced from good ones",
      "1 datanode dead",
      "1 volume failed",
      "1 datanode not heard from for a moment",
    ]);
  });

  it("tells no datanodes from none alive", () => {
    expect(health(() => {}, 0)).to.include({ state: "empty", summary: "No datanodes yet" });
    const none = health((s) => {
      for (const d of s.datanodes) d.state = "dead";
    });
    expect(none).to.include({ state: "error", summary: "No datanode is alive" });
  });
});
