import { fileURLToPath } from "node:url";
import { expect } from "chai";
import fc from "fast-check";
import protobuf from "protobufjs";
import * as generated from "../../proto/gen/types.js";
import type { Codec } from "../../proto/method.js";

type Message = Record<string, unknown>;

const PROTO = fileURLToPath(new URL("../../../proto/", import.meta.url));
const root = new protobuf.Root();
root.resolvePath = (_origin, target) => (target.startsWith("/") ? target : PROTO + target);
root.loadSync(["link", "types", "namenode", "datanode", "edit"].map((name) => `${PROTO}${name}.proto`));
root.resolveAll();
const types = root.lookup("cairn") as protobuf.Namespace;
const messages = types.nestedArray.filter((type) => type instanceof protobuf.Type);

const codecOf = (type: protobuf.Type): Codec<Message, Message> =>
  (generated as unknown as Record<string, Codec<Message, Message>>)[type.name]!;

const NUMBERS: Record<string, fc.Arbitrary<unknown>> = {
  uint32: fc.oneof(fc.nat(200), fc.nat(0xffffffff)),
  fixed32: fc.nat(0xffffffff),
  uint64: fc.oneof(fc.nat(300), fc.nat(2 ** 30), fc.maxSafeNat()),
  fixed64: fc.maxSafeNat(),
  int64: fc.maxSafeInteger(),
  bool: fc.boolean(),
  string: fc.string({ unit: "binary", maxLength: 60 }),
  bytes: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
};

/**
 * Values of a field: of one that may be absent also null, of a repeated one lists.
 * @param within the types that it is in: one is not in itself, though it may be
 */
function valuesOf(field: protobuf.Field, within: readonly protobuf.Type[]): fc.Arbitrary<unknown> {
  const { resolvedType } = field;
  if (resolvedType instanceof protobuf.Type && within.includes(resolvedType)) return fc.constant([]);
  const one =
    resolvedType instanceof protobuf.Type
      ? messageOf(resolvedType, within)
      : resolvedType instanceof protobuf.Enum
        ? fc.constantFrom(...Object.values(resolvedType.values))
        : NUMBERS[field.type]!;
  if (field.repeated) return fc.array(one, { maxLength: 3 });
  return field.partOf ? fc.option(one) : one;
}

/** Messages of a type with all of their fields. */
function messageOf(type: protobuf.Type, outer: readonly protobuf.Type[] = []): fc.Arbitrary<Message> {
  const within = [...outer, type];
  return fc.record(Object.fromEntries(type.fieldsArray.map((field) => [field.name, valuesOf(field, within)])));
}

/** As protobufjs, which reads the .proto files itself, sees bytes: fields that are absent are null. */
function seenByProtobufjs(type: protobuf.Type, bytes: Uint8Array): unknown {
  const complete = (of: protobuf.Type, message: Message): Message =>
    Object.fromEntries(
      of.fieldsArray.map(({ name, type: kind, partOf, resolvedType, repeated }) => {
        const value = message[name];
        if (partOf && !Object.hasOwn(message, name)) return [name, null];
        if (kind === "bytes" && !repeated) return [name, Buffer.from(value as Buffer)];
        if (!(resolvedType instanceof protobuf.Type)) return [name, value];
        if (repeated) return [name, (value as Message[]).map((one) => complete(resolvedType, one))];
        return [name, complete(resolvedType, value as Message)];
      }),
    );
  return complete(type, type.decode(bytes) as unknown as Message);
}

/** At most one member of each oneof: what is written last is what counts. */
function oneOfEach(type: protobuf.Type, message: Message): Message {
  const kept = { ...message };
  for (const { fieldsArray } of type.oneofsArray) {
    const set = fieldsArray.filter(({ name }) => kept[name] !== null);
    for (const { name } of set.slice(1)) kept[name] = null;
  }
  return kept;
}

describe("the messages", () => {
  for (const type of messages) {
    it(`${type.name} goes over the wire as protobufjs would have it`, () => {
      const codec = codecOf(type);
      fc.assert(
        fc.property(messageOf(type), (made) => {
          const message = oneOfEach(type, made);
          const bytes = codec.encode(message).finish();
          expect(codec.decode(bytes)).to.deep.equal(message);
          expect(seenByProtobufjs(type, bytes)).to.deep.equal(message);
          expect(codec.decode(type.encode(type.fromObject(message)).finish())).to.deep.equal(message);
        }),
        { numRuns: 10, seed: 1 },
      );
    });
  }

  const { Time, Inode, Edit, ReleaseRequest } = generated;
  const time = { sec: 1, nsec: 2 };

  it("have all fields, whatever was sent", () => {
    expect(Time.decode(Buffer.alloc(0))).to.deep.equal({ sec: 0, nsec: 0 });
    const { target, coverage, size } = Inode.decode(
      Inode.encode({ ino: 1, atime: time, mtime: time, ctime: time, policy: {} }).finish(),
    );
    expect([target.length, coverage, size]).to.deep.equal([0, null, 0]);
  });

  it("pass over fields that are unknown, of every wire type", () => {
    const unknown = ["d00f05", "d10f0102030405060708", "d20f03616263", "d50f01020304", "d30f0805d40f"];
    const bytes = Buffer.concat([...unknown.map((hex) => Buffer.from(hex, "hex")), Time.encode(time).finish()]);
    expect(Time.decode(bytes)).to.deep.equal(time);
  });

  it("take numbers of a list that were sent one by one", () => {
    expect(ReleaseRequest.decode(Buffer.from("080510071009", "hex"))).to.deep.equal({ session: 5, inos: [7, 9] });
  });

  it("are refused when a part that must be there is missing, and when they are cut off or overrun", () => {
    expect(() => Inode.decode(Buffer.alloc(0))).to.throw("Inode without atime");
    const bytes = Edit.encode({ index: 7, time }).finish();
    for (let end = 3; end < bytes.length; end++) expect(() => Edit.decode(bytes.subarray(0, end)), `${end}`).to.throw();
    // Time of 1 byte within which a number of 2 bytes begins.
    expect(() => Edit.decode(Buffer.from("1201ff01", "hex"))).to.throw();
  });

  it("that could not be encoded leave nothing behind", () => {
    expect(() => Edit.encode({ index: 1, time: undefined as unknown as typeof time })).to.throw();
    expect(Time.decode(Time.encode(time).finish())).to.deep.equal(time);
  });
});
