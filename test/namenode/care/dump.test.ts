import { expect } from "chai";
import { RealClock } from "../../../common/clock.js";
import { codeOf } from "../../../common/errors.js";
import { ROOT_INO } from "../../../common/limits.js";
import { backupPieces } from "../../../namenode/care/backup.js";
import { dump as dumpText, readDump } from "../../../namenode/care/dump.js";
import { fill } from "../../../namenode/care/restore.js";
import { CLUSTER } from "../../../namenode/namespace/keys.js";
import { createSnapshot } from "../../../namenode/namespace/operations/snapshots.js";
import { S_IFLNK } from "../../../namenode/namespace/types.js";
import { MemoryStore } from "../../../namenode/store/memory.js";
import type { Store } from "../../../namenode/store/store.js";
import { encodeInline } from "../../../proto/inline.js";
import { dump, name, World } from "../namespace/world.js";

/** The text of a store's dump. */
async function textOf(store: Store): Promise<string> {
  const pieces = backupPieces(await store.snapshot(), { cluster: "c", version: "test", nowMs: 0 });
  async function* source() {
    yield* pieces;
  }
  let text = "";
  for await (const piece of dumpText(source())) text += piece;
  return text;
}

/** A store loaded from text, which comes in pieces that cut lines and characters. */
async function loaded(text: string): Promise<MemoryStore> {
  const bytes = Buffer.from(text);
  async function* source() {
    for (let at = 0; at < bytes.length; at += 777) yield bytes.subarray(at, at + 777);
  }
  const store = new MemoryStore();
  await fill(store, await readDump(source()), new RealClock());
  return store;
}

async function codeOfLoading(text: string): Promise<string> {
  return loaded(text).then(
    () => "none",
    (err: unknown) => codeOf(err),
  );
}

/** A world with a record of every kind. */
async function varied(): Promise<World> {
  const world = await World.open();
  const dir = await world.mkdir(ROOT_INO, "ordner-ä-\u{1f5ff}");
  const file = await world.mkfile(dir.ino, "file");
  await world.write(file.ino, 5000, [
    { offset: 0, length: 10, blockOffset: 100 },
    { offset: 50, length: 4000, blockOffset: 0 },
  ]);
  const small = await world.mkfile(dir.ino, "small");
  await world.call("commit", {
    ino: small.ino,
    extents: [{ offset: 0, length: 4, block: Number.MAX_SAFE_INTEGER }],
    inline: [encodeInline(Number.MAX_SAFE_INTEGER, Buffer.from([0, 0xff, 0x80, 0x41]))],
  });
  await world.call("create", { dir: ROOT_INO, name: Buffer.from([0xff, 0x0a, 0x22]), mode: 0o100600 });
  await world.call("create", { dir: ROOT_INO, name: name("link"), mode: S_IFLNK | 0o777, target: name("a/b") });
  await world.call("setXattr", { ino: file.ino, name: name("user.x"), value: Buffer.from([1, 2, 0xfe]) });
  await world.call("link", { ino: file.ino, dir: ROOT_INO, name: name("again") });
  await world.call("unlink", { dir: dir.ino, name: name("small"), hold: true });
  world.editor.apply({ registerDatanode: { id: 1, uuid: "u-u-i-d-1", host: "h", port: 9, rack: "/r" } });
  world.editor.apply({ administerDatanode: { id: 1, duty: 1, untilMs: 0 } });
  createSnapshot({ kv: world.kv, editor: world.editor, clock: world.clock }, { ino: dir.ino, name: name("s") });
  await world.call("setAttributes", { ino: file.ino, mode: 0o600 });
  world.kv.put("Lsomething", Buffer.from("reported"));
  return world;
}

const entriesOf = (store: Store) => dump(store).filter(([key]) => key !== CLUSTER && key[0] !== "L");

describe("dump and load", () => {
  it("give back every record, but for what datanodes report", async () => {
    const world = await varied();
    const text = await textOf(world.store);
    const store = await loaded(text);
    expect(entriesOf(store)).eql(entriesOf(world.store));
    expect(store.get("Lsomething")).equal(undefined);
    // And as text again, but for the edit that takes the store up.
    const lines = (t: string) => t.split("\n").slice(2);
    expect(lines(await textOf(store))).eql(lines(text));
  });

  it("write one record a line, names as text", async () => {
    const lines = (await textOf((await varied()).store)).trimEnd().split("\n");
    const records = lines.map((line) => JSON.parse(line) as Record<string, object>);
    expect(records[0]).deep.include.keys("dump");
    expect(records.at(-1)).eql({ end: { entries: lines.length - 2 } });
    const dentries = records.flatMap((r) => ("dentry" in r ? [r["dentry"]] : []));
    expect(dentries).deep.include({ dir: 1, name: "ordner-ä-\u{1f5ff}", ino: 2, type: 0o040000 });
    expect(dentries).deep.include({ dir: 1, name: { hex: "ff0a22" }, ino: 5, type: 0o100000 });
    expect(records).deep.include({ xattr: { ino: 3, name: "user.x", value: { hex: "0102fe" } } });
    expect(records).deep.include({ extent: { ino: 3, offset: 50, length: 4000, block: 1 } });
  });

  it("refuse what is no dump, or a part of one, naming the line", async () => {
    const text = await textOf((await varied()).store);
    const lines = text.split("\n");
    expect(await codeOfLoading("")).equal("EINVAL");
    expect(await codeOfLoading("hello\n")).equal("EINVAL");
    expect(await codeOfLoading(lines.slice(0, 5).join("\n"))).equal("EBADMSG");
    expect(await codeOfLoading([...lines.slice(0, 3), ...lines.slice(4)].join("\n"))).equal("EBADMSG");
    for (const wrong of ['{"inode":{"ino":-1}}', '{"what":{}}', '{"dentry":{"dir":1,"name":5}}', "[]", "{", "7"]) {
      const changed = [...lines.slice(0, 3), wrong, ...lines.slice(3)].join("\n");
      expect(await codeOfLoading(changed), wrong).equal("EINVAL");
      await loaded(changed).catch((err: Error) => expect(err.message).match(/line 4 of the dump/));
    }
  });
});
