import { expect } from "chai";
import fc from "fast-check";
import { CairnError } from "../../common/errors.js";
import { MAX_MESSAGE } from "../../common/limits.js";
import { decodeFrame, encodeFrame, encodeFrameAround } from "../../proto/frame.js";
import { EnvelopeKind } from "../../proto/gen/types.js";

const envelopes = fc.record({
  kind: fc.constantFrom(...Object.values(EnvelopeKind)),
  id: fc.nat(0xffffffff),
  method: fc.string({ maxLength: 40 }),
  message: fc.uint8Array({ maxLength: 300 }),
});

describe("frames", () => {
  it("come back as they went, with their body", () => {
    fc.assert(
      fc.property(envelopes, fc.uint8Array({ maxLength: 500 }), (envelope, body) => {
        const { envelope: back, body: bodyBack, raw } = decodeFrame(encodeFrame(envelope, body));
        expect(back).to.deep.include({ kind: envelope.kind, id: envelope.id, method: envelope.method });
        expect(back.message.equals(envelope.message)).to.equal(true);
        expect(bodyBack.equals(body)).to.equal(true);
        expect(raw.length).to.be.greaterThan(bodyBack.length);
      }),
    );
  });

  it("are built around a body that is in place already, without copying it", () => {
    const buffer = Buffer.alloc(1000, 7);
    const frame = encodeFrameAround({ kind: EnvelopeKind.PUSH, method: "A.B" }, buffer, 100, 900);
    expect(frame.buffer).to.equal(buffer.buffer);
    const { envelope, body } = decodeFrame(frame);
    expect(envelope.method).to.equal("A.B");
    expect(body.length).to.equal(800);
    expect(frame.equals(encodeFrame({ kind: EnvelopeKind.PUSH, method: "A.B" }, Buffer.alloc(800, 7)))).to.equal(true);
    expect(buffer[900]).to.equal(7);
    expect(() => encodeFrameAround({ method: "A.B" }, buffer, 4, 900)).to.throw(RangeError, "no room");
  });

  it("carry messages longer than 64 KiB, but then no body, and none over the limit", () => {
    const message = Buffer.alloc(200_000, 3);
    const { envelope, body } = decodeFrame(encodeFrame({ message }));
    expect(envelope.message.equals(message)).to.equal(true);
    expect(body).to.have.length(0);
    expect(() => encodeFrame({ message }, Buffer.alloc(1))).to.throw(CairnError, "too long");
    expect(() => encodeFrameAround({ message }, Buffer.alloc(300_000), 250_000, 300_000)).to.throw(CairnError);
    expect(() => encodeFrame({}, Buffer.alloc(MAX_MESSAGE))).to.throw(CairnError, "too long");
    expect(() => encodeFrame({ message: Buffer.alloc(MAX_MESSAGE) })).to.throw(CairnError, "too long");
  });

  it("that are garbage are refused with an Error, whatever they are", () => {
    for (const raw of [[], [1], [5, 0], [0xff, 0xff, 1, 2, 3], [0, 0, 0xff]]) {
      expect(() => decodeFrame(Buffer.from(raw)), `${raw}`).to.throw(Error);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          const { body, raw } = decodeFrame(Buffer.from(bytes));
          expect(body.length).to.be.at.most(raw.length - 2);
        } catch (err) {
          expect(err).to.be.instanceOf(Error);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
