import { expect } from "chai";
import { LinkAuth } from "../../proto/auth.js";

describe("the proof of the cluster secret", () => {
  const header = (auth: LinkAuth) => auth.headers()["authorization"];

  it("is neither asked for nor given where there is no secret", () => {
    const open = new LinkAuth();
    expect(open.headers()).to.deep.equal({});
    expect(open.refusal(undefined)).to.equal(undefined);
    expect(open.refusal(header(new LinkAuth("some")))).to.equal(undefined);
  });

  it("is accepted with the same secret, once", () => {
    const server = new LinkAuth("secret");
    const proof = header(new LinkAuth("secret"));
    expect(server.refusal(proof)).to.equal(undefined);
    expect(server.refusal(proof)).to.match(/used before/);
    expect(server.refusal(header(new LinkAuth("secret")))).to.equal(undefined);
  });

  it("is refused with another secret, without one, or when it was tampered with", () => {
    const server = new LinkAuth("secret");
    expect(server.refusal(header(new LinkAuth("Secret")))).to.match(/wrong/);
    expect(server.refusal(undefined)).to.match(/required/);
    expect(server.refusal("Bearer x")).to.match(/required/);
    const [scheme, proof] = header(new LinkAuth("secret"))!.split(" ") as [string, string];
    const [stamp, nonce, mac] = proof.split(".") as [string, string, string];
    expect(server.refusal(`${scheme} ${Number(stamp) + 1}.${nonce}.${mac}`)).to.match(/wrong/);
    expect(server.refusal(`${scheme} ${stamp}.${nonce.replace(/^./, (c) => (c === "A" ? "B" : "A"))}.${mac}`)).to.match(
      /wrong/,
    );
    expect(server.refusal(`${scheme} ${stamp}.${nonce}.${mac}x`)).to.match(/required/);
  });

  it("is refused when it is older than the clocks may be apart", () => {
    const now = Date.now;
    const client = new LinkAuth("secret");
    try {
      Date.now = () => now() - 6 * 60_000;
      const old = header(client);
      Date.now = () => now() + 6 * 60_000;
      const early = header(client);
      Date.now = now;
      expect(new LinkAuth("secret").refusal(old)).to.match(/clocks/);
      expect(new LinkAuth("secret").refusal(early)).to.match(/clocks/);
    } finally {
      Date.now = now;
    }
  });
});
