import { expect } from "chai";
import { RealClock } from "../../common/clock.js";
import { ROOT_INO } from "../../common/limits.js";
import { silentLogger } from "../../common/log.js";
import { loadSettings } from "../../common/settings.js";
import type { CareHandlers } from "../../namenode/blocks/blocks.js";
import { Blocks } from "../../namenode/blocks/blocks.js";
import { JournaledEditor } from "../../namenode/editor.js";
import { Namenode } from "../../namenode/namenode.js";
import { readBlock } from "../../namenode/namespace/records.js";
import { S_IFDIR, S_IFREG } from "../../namenode/namespace/types.js";
import { namenodeSettings } from "../../namenode/settings.js";
import { openStorage, type Storage, type StorageOptions } from "../../namenode/store/storage.js";
import type { Store } from "../../namenode/store/store.js";
import { LinkAuth } from "../../proto/auth.js";
import { connect } from "../../proto/connect.js";
import { Dispatcher } from "../../proto/dispatch.js";
import { Admin, Namenode as Service } from "../../proto/gen/services.js";
import { tempFolder } from "./store/temp.js";

const FEW = 100;
const MANY = 5_000;
const LENGTH = 1 << 20;
/** What two starts may read differently: what is done every now and then may fall into one of them. */
const SLACK = 20;
/** Files made in one turn of the event loop. */
const SLICE = 50;
const DATANODES = [1, 2, 3];

const log = silentLogger;
const clock = new RealClock();
const nameOf = (n: number): Buffer => Buffer.from(`file-${n}`);
const settingsOf = (dataDir: string) =>
  loadSettings("namenode", namenodeSettings, { flags: { dataDir, port: 0, logLevel: "silent" } });

/** A store whose keys that are read are counted. */
function counting(store: Store, reads: { count: number }): Store {
  return {
    get appliedIndex() {
      return store.appliedIndex;
    },
    get hasRoom() {
      return store.hasRoom;
    },
    get: (key) => {
      reads.count++;
      return store.get(key);
    },
    *range(options) {
      for (const entry of store.range(options)) {
        reads.count++;
        yield entry;
      }
    },
    put: (key, value) => store.put(key, value),
    delete: (key) => store.delete(key),
    setIndex: (index) => store.setIndex(index),
    waitForRoom: () => store.waitForRoom(),
    onDurable: (listener) => store.onDurable(listener),
    flush: () => store.flush(),
    snapshot: () => store.snapshot(),
    close: () => store.close(),
  };
}

/** Makes a folder of files with a block and three replicas each, by the edits that clients' calls make. */
async function makeFiles(folder: string, files: number): Promise<void> {
  const storage = await openStorage({ folder, clock, log });
  const editor = new JournaledEditor({ ...storage, clock });
  const { kv } = editor;
  const settings = settingsOf(folder);
  const use = {
    committed: (id: number) => {
      const record = readBlock(kv, id);
      return record && { generation: record.generation, length: record.length, wanted: record.replicas };
    },
    isPending: () => false,
  };
  const blocks = new Blocks({ kv, editor, use, settings, clock, log, care: {} as CareHandlers });
  await editor.replay();
  const time = clock.timestamp();
  const times = { atime: time, mtime: time, ctime: time };
  const root = { ino: ROOT_INO, mode: S_IFDIR | 0o755, nlink: 2, parent: ROOT_INO, policy: {}, ...times };
  editor.apply({ time, format: { cluster: "c", root } });
  for (const id of DATANODES)
    editor.apply({ registerDatanode: { id, uuid: `datanode-${id}`, host: `h${id}`, port: 1, rack: "/r" } });
  editor.apply({ reserveBlockIds: { next: files + 1 } });
  for (let n = 1; n <= files; n++) {
    const full = editor.room();
    if (full !== undefined) await full;
    else if (n % SLICE === 0) await new Promise((resolve) => setImmediate(resolve));
    const ino = ROOT_INO + n;
    const inode = { ino, mode: S_IFREG | 0o644, nlink: 1, parent: ROOT_INO, policy: { replicas: 3 }, ...times };
    editor.apply({ time, create: { dir: ROOT_INO, name: nameOf(n), inode } });
    const block = { id: n, generation: 1, length: LENGTH };
    const extents = [{ offset: 0, length: LENGTH, block: n, blockOffset: 0 }];
    const written = { extents, size: LENGTH, mtime: time, replicas: 3 };
    editor.apply({ commit: { ino, blocks: [{ block, datanodes: DATANODES }], ...written } });
  }
  editor.close();
  await blocks.close();
  await storage.close();
}

describe("a namenode with many files", () => {
  const temp = tempFolder();

  /** Starts a namenode, looks a file up, asks for its blocks and for the status. @returns the keys read */
  async function readsOfStart(folder: string, files: number): Promise<number> {
    const reads = { count: 0 };
    const storage = async (options: StorageOptions): Promise<Storage> => {
      const opened = await openStorage(options);
      return { ...opened, store: counting(opened.store, reads), close: () => opened.close() };
    };
    const namenode = new Namenode({ settings: settingsOf(folder), log, storage });
    await namenode.start();
    try {
      const link = await connect("127.0.0.1", namenode.port!, {
        dispatcher: new Dispatcher(),
        auth: new LinkAuth(),
        log,
      });
      const { inode } = await link.call(Service.lookup, { dir: ROOT_INO, name: nameOf(files) });
      const { blocks } = await link.call(Service.getExtents, { ino: inode.ino, offset: 0, length: LENGTH });
      expect(blocks[0]!.replicas.map((r) => r.id).sort()).eql(DATANODES);
      const status = await link.call(Admin.status, {});
      expect(status).include({ files, blocks: files, underReplicated: 0, missing: 0 });
      link.close("read");
    } finally {
      await namenode.close();
    }
    return reads.count;
  }

  it("reads no more of them when it starts than with few", async () => {
    await makeFiles(temp.path("few"), FEW);
    await makeFiles(temp.path("many"), MANY);
    const few = await readsOfStart(temp.path("few"), FEW);
    const many = await readsOfStart(temp.path("many"), MANY);
    expect(few).within(1, 1_000);
    expect(Math.abs(many - few), `${few} keys were read with ${FEW} files, ${many} with ${MANY}`).at.most(SLACK);
  });
});
