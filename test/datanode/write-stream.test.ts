import { expect } from "chai";
import { RealClock } from "../../common/clock.js";
import { CairnError } from "../../common/errors.js";
import type { Downstream } from "../../datanode/downstream.js";
import type { UnfinishedReplica } from "../../datanode/unfinished.js";
import { WriteStream } from "../../datanode/write-stream.js";
import { ChunkTable } from "../../proto/chunk-table.js";
import { encodeChunks } from "../../proto/chunks.js";
import type { CallContext } from "../../proto/dispatch.js";
import { PacketHeader } from "../../proto/gen/types.js";
import type { Link } from "../../proto/link.js";

/** A stream of which the test decides when a packet is stored and when it has left. */
function streamOf({ last = false } = {}) {
  const table = new ChunkTable();
  const stored: { ok: () => void; fail: (err: Error) => void }[] = [];
  const left: (() => void)[] = [];
  const replica = {
    id: 5,
    table,
    append: (chunks: Parameters<ChunkTable["append"]>[0]) => {
      table.append(chunks);
      return new Promise<void>((ok, fail) => stored.push({ ok, fail }));
    },
  };
  const downstream = {
    address: { id: 2 },
    link: { sendFrame: (_frame: Buffer, onSent: () => void) => void left.push(onSent) },
    close: () => {},
  };
  const stream = new WriteStream({
    generation: 1,
    replica: replica as unknown as UnfinishedReplica,
    upstream: { peer: "a writer", push: () => {} } as unknown as Link,
    downstream: last ? undefined : (downstream as unknown as Downstream),
    depth: 0,
    window: 1 << 20,
    clock: new RealClock(),
    finalize: async () => {},
    onEnd: () => {},
  });
  let recycled = 0;
  const { chunks, body } = encodeChunks(Buffer.alloc(1000, 7), 0);
  const packet = (sequence: number, text = body) => {
    const header = PacketHeader.decode(
      PacketHeader.encode({ block: 5, generation: 1, sequence, offset: sequence * 1000, chunks }).finish(),
    );
    stream.packet(header, { body: text, raw: text, recycle: () => recycled++ } as unknown as CallContext);
  };
  return { packet, stored, left, recycled: () => recycled };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("a stream of packets through a datanode", () => {
  it("gives a packet's memory back when it is stored and has left for the next datanode", async () => {
    const { packet, stored, left, recycled } = streamOf();
    packet(0);
    packet(1);
    left[0]!();
    stored[1]!.ok();
    await turn();
    expect(recycled()).to.equal(0);
    stored[0]!.ok();
    await turn();
    expect(recycled()).to.equal(1);
    left[1]!();
    expect(recycled()).to.equal(2);
  });

  it("gives it back when it is stored, at the end of the pipeline", async () => {
    const { packet, stored, recycled } = streamOf({ last: true });
    packet(0);
    expect(recycled()).to.equal(0);
    stored[0]!.ok();
    await turn();
    expect(recycled()).to.equal(1);
  });

  it("never gives back what could not be stored, or is damaged", async () => {
    const failing = streamOf();
    failing.packet(0);
    failing.left[0]!();
    failing.stored[0]!.fail(new CairnError("EIO", "no"));
    await turn();
    expect(failing.recycled()).to.equal(0);
    const damaged = streamOf();
    damaged.packet(0, Buffer.alloc(1000, 8));
    damaged.left[0]!();
    await turn();
    expect(damaged.stored.length).to.equal(0);
    expect(damaged.recycled()).to.equal(0);
  });
});
