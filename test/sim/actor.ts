import { codeOf, messageOf } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";
import type { Access, OpenedFile } from "./access.js";
import type { Arena } from "./arena.js";
import { Births } from "./births.js";
import type { Checker } from "./checker.js";
import type { Daemon, SimCluster } from "./cluster.js";
import { Random } from "./random.js";
import { Versions } from "./versions.js";

/** Files of one actor, at most. */
const MAX_FILES = 8;
/** Time between two operations, at most, ms. */
const THINK_MS = 400;
/** How often a client is a mount; else it is used through its library. */
const MOUNTED = 0.6;
/** How often an actor turns to a file that another has made, and perhaps has said to nobody yet. */
const CURIOSITY = 0.1;
/** How often a file of another's is looked for by its name. */
const LOOKS = 0.7;
/** Inodes that a mount remembers, at most: hardly any, or all. */
const REMEMBERED = [3, 16_384] as const;
/** How long until what a failed call may still do has been done, ms: no connection is silent for longer. */
const ECHO_MS = 30_000;
/** Errors of a call that say nothing about whether it was done. */
const UNCERTAIN = new Set([
  "ETIMEDOUT",
  "ENOTCONN",
  "ECONNREFUSED",
  "ECONNRESET",
  "EIO",
  "ECANCELED",
  "EAGAIN",
  "ENOSPC",
]);

/** A file of an actor, as it must be. */
interface FileState {
  readonly ino: number;
  readonly content: Versions<Buffer>;
  /** A flush failed, or bytes that were on no disk went with the power: what it holds is anybody's guess, and it is removed. */
  tainted: boolean;
  /** It could not be read after a start, and must be there: until it is, nothing is done to it that would hide its loss. */
  unread: boolean;
  open: OpenedFile | undefined;
}

type Names = ReadonlyMap<string, number>;

const OPERATIONS = {
  create: 9,
  write: 30,
  flush: 8,
  fsync: 5,
  close: 6,
  read: 14,
  readOther: 12,
  truncate: 4,
  punch: 3,
  copy: 4,
  rename: 5,
  unlink: 5,
  list: 3,
  fight: 8,
  idle: 1,
} as const;

export interface ActorOptions {
  cluster: SimCluster;
  checker: Checker;
  name: string;
  arena: Arena;
  /** Bytes of each of its files, at most. */
  maxBytes: number;
  /** All actors. */
  others: () => readonly Actor[];
}

/**
 * A client and the program that uses it: does one thing after the other to files of its own, knows what it was promised, and
 * compares. Others' files it only reads.
 */
export class Actor {
  readonly name: string;
  readonly daemon: Daemon;
  readonly names = new Versions<Names>(new Map());
  readonly files = new Map<number, FileState>();
  /** Its files that may be there or not. */
  readonly #births = new Births();
  readonly #cluster: SimCluster;
  readonly #checker: Checker;
  readonly #random: Random;
  readonly #arena: Arena;
  readonly #maxBytes: number;
  readonly #others: () => readonly Actor[];
  #current: Access | undefined;
  #dir = 0;
  #incarnation = 0;
  #made = 0;
  /** What it is doing, for people. */
  doing = "nothing";
  stopped = false;
  /** Set when it has ended by itself after `stopped`. */
  idle = true;

  constructor({ cluster, checker, name, arena, maxBytes, others }: ActorOptions) {
    this.#cluster = cluster;
    this.#maxBytes = maxBytes;
    this.#checker = checker;
    this.name = name;
    this.daemon = cluster.newClientMachine(name);
    this.#random = new Random(cluster.random.int(0, 2 ** 31));
    this.#arena = arena;
    this.#others = others;
  }

  /** Starts the client, for the first time or after its death, and goes on until it is stopped or killed. */
  start(): void {
    const incarnation = ++this.#incarnation;
    this.idle = false;
    for (const file of this.files.values()) file.open = undefined;
    this.#run(incarnation).catch((err) => this.#checker.fatal(err));
  }

  /** Edits after one are lost, and what no disk had is, too. */
  rollBack(lastIndex: number): void {
    this.#arena.rollBack();
    this.#births.rollBack(lastIndex);
    this.names.rollBack(lastIndex);
    for (const file of this.files.values()) file.content.rollBack(lastIndex);
  }

  /** Removes the files that nobody knows the content of, so that what is left must be whole. */
  async removeTainted(): Promise<void> {
    for (const file of this.files.values()) if (file.tainted) await this.#unlink(file);
  }

  /** No replica of a block that a file of this actor refers to is good: the file is removed, which it must not be if it was synced. */
  async giveUp(ino: number): Promise<void> {
    const file = this.files.get(ino);
    if (file === undefined) return;
    const wasSynced = file.unread || file.content.latest.certainty === "durable";
    this.#checker.check(!wasSynced, `${this.#of(file)} was synced, and has a block without a good replica`);
    this.#current = await this.#cluster.useLibrary(this.daemon);
    await this.#unlink(file);
    await this.close();
  }

  /** Ends the session, after everything is done. */
  async close(): Promise<void> {
    try {
      await this.#current?.close();
    } catch (err) {
      this.#checker.excuse(codeOf(err), `${this.name} ends (${messageOf(err)})`);
    }
  }

  async #run(incarnation: number): Promise<void> {
    this.doing = "connecting";
    try {
      this.#current = this.#random.chance(MOUNTED)
        ? await this.#cluster.mount(this.daemon, this.#random.pick(REMEMBERED))
        : await this.#cluster.useLibrary(this.daemon);
      await this.#recover();
    } catch (err) {
      this.#checker.excuse(codeOf(err), `${this.name} starts (${messageOf(err)})`);
      this.idle = true;
      return;
    }
    const { process } = this.daemon;
    while (!this.stopped && process.alive && !this.#checker.violation) {
      const operation = this.#isTempted() ? "readOther" : this.#random.weighted(OPERATIONS);
      this.#checker.operations++;
      this.doing = operation;
      await this.#do(operation);
      this.doing = "thinking";
      await this.#cluster.time.sleep(this.#random.next() * THINK_MS);
    }
    if (process.alive && incarnation === this.#incarnation) this.idle = true;
  }

  /** Whether it looks at what another has just made, and perhaps has said to nobody yet. */
  #isTempted(): boolean {
    const isFresh = (other: Actor) => other !== this && other.#freshest() !== undefined;
    return this.#others().some(isFresh) && this.#random.chance(CURIOSITY);
  }

  /** A name of which perhaps nobody else knows. */
  #freshest(): readonly [string, number] | undefined {
    return [...this.names.latest.value].findLast(([, ino]) => this.#births.isOpen(ino));
  }

  async #do(operation: keyof typeof OPERATIONS): Promise<void> {
    switch (operation) {
      case "create":
        return this.#create();
      case "write":
        return this.#withFile((file) => this.#write(file));
      case "flush":
        return this.#withFile((file) => this.#commit(file, "acknowledged"));
      case "fsync":
        return this.#withFile((file) => this.#commit(file, "durable"));
      case "close":
        return this.#withFile((file) => this.#close(file));
      case "read":
        return this.#withFile((file) => this.#read(file));
      case "readOther":
        return this.#readOther();
      case "truncate":
        return this.#withFile((file) => this.#truncate(file));
      case "punch":
        return this.#withFile((file) => this.#punch(file));
      case "copy":
        return this.#withFile((file) => this.#copy(file));
      case "rename":
        return this.#withFile((file) => this.#rename(file));
      case "unlink":
        return this.#withFile((file) => this.#unlink(file));
      case "list":
        return this.#settleNames(false);
      case "fight":
        return this.#fight();
      case "idle":
        return this.#cluster.time.sleep(this.#random.int(1_000, 20_000));
    }
  }

  // ---- names ----

  async #create(): Promise<void> {
    if (this.names.latest.value.size >= MAX_FILES) return;
    const name = `f${this.#made++}`;
    const version = this.names.begin(with_(this.names.latest.value, [[name, -1]]));
    await this.#change(`create ${name}`, async () => {
      const { ino, open, unborn } = await this.#access.create(this.#dir, name);
      if (unborn) this.#births.made(ino, this.#cluster.time.now);
      this.#checker.meet(unborn ? "files made by mounts" : "files made by calls");
      (version.value as Map<string, number>).set(name, ino);
      this.names.confirm(version, "acknowledged", this.#lastIndex);
      this.files.set(ino, newFile(ino, open));
      this.#checker.promise("create", this.name);
    });
  }

  async #rename(file: FileState): Promise<void> {
    const from = this.#nameOf(file);
    if (from === undefined) return;
    const over = this.#random.chance(0.4) ? this.#random.pick([...this.names.latest.value.keys()]) : undefined;
    if (this.files.get(this.names.latest.value.get(over ?? "") ?? 0)?.unread) return;
    const to = over ?? `f${this.#made++}`;
    if (to === from) return;
    const replaced = this.files.get(this.names.latest.value.get(to) ?? 0);
    if (replaced !== undefined) await this.#close(replaced);
    const version = this.names.begin(with_(without(this.names.latest.value, from), [[to, file.ino]]));
    await this.#change(
      `rename ${from} to ${to}`,
      async () => {
        await this.#access.rename(this.#dir, from, to);
        this.#births.born(file.ino, this.#lastIndex);
        this.names.confirm(version, "acknowledged", this.#lastIndex);
      },
      file,
    );
  }

  async #unlink(file: FileState): Promise<void> {
    const name = this.#nameOf(file);
    if (name === undefined) return;
    await this.#close(file);
    const version = this.names.begin(without(this.names.latest.value, name));
    await this.#change(
      `unlink ${name}`,
      async () => {
        await this.#access.unlink(this.#dir, name);
        this.#births.born(file.ino, this.#lastIndex);
        this.names.confirm(version, "acknowledged", this.#lastIndex);
      },
      file,
    );
  }

  /**
   * A change of names: when nobody knows whether it was done, what is there decides.
   * @param file of which a name is changed: if it could not be born, there is none
   */
  async #change(what: string, act: () => Promise<void>, file?: FileState): Promise<void> {
    try {
      await act();
      this.#tell(what);
    } catch (err) {
      const code = codeOf(err);
      const stillborn = code === "ENOENT" && file !== undefined && this.#births.isOpen(file.ino);
      this.#checker.check(
        UNCERTAIN.has(code) || stillborn,
        `${this.name}: ${what} is answered right, not with ${code} (${messageOf(err)})`,
      );
      this.#checker.excuse(code, `${this.name}: ${what}`);
      await this.#cluster.time.sleep(ECHO_MS);
      await this.#settleNames();
    }
  }

  /**
   * Lists the directory: it must be one of the states it may have.
   * @param isQuiet nothing is under way any more, so that what is not there will not come
   */
  async #settleNames(isQuiet = true): Promise<void> {
    let seen: Map<string, number>;
    try {
      seen = await this.#access.list(this.#dir);
    } catch (err) {
      this.#checker.excuse(codeOf(err), `${this.name}: list`);
      return;
    }
    const births = this.#births;
    const fits = this.names.possible.some((names) => sameNames(names, seen, births));
    this.#checker.check(
      fits,
      `${this.name}'s directory is one of ${JSON.stringify(this.names.possible.map((n) => [...n]))}, not ${JSON.stringify([...seen])}`,
    );
    for (const ino of seen.values()) {
      births.born(ino, this.#lastIndex);
      if (!this.files.has(ino)) this.files.set(ino, newFile(ino));
    }
    const mayCome = [...this.names.latest.value].filter(([, ino]) => births.isOpen(ino));
    if (this.names.isCertain && mayCome.length === 0) return;
    if (!this.names.isCertain || isQuiet) this.names.settle(isQuiet ? seen : with_(seen, mayCome), this.#lastIndex);
  }

  /** Makes or removes a name that others want, too: only one has it. */
  async #fight(): Promise<void> {
    try {
      await this.#arena.fight(this.name, this.#access);
    } catch (err) {
      this.#checker.excuse(codeOf(err), `${this.name}: fight (${messageOf(err)})`);
    }
  }

  // ---- content ----

  async #write(file: FileState): Promise<void> {
    const before = file.content.latest.value;
    const offset = this.#random.chance(0.3)
      ? before.length
      : this.#random.int(0, Math.min(before.length + 4096, this.#maxBytes - 1));
    const data = this.#random.bytes(
      Math.min(
        this.#random.int(1, this.#random.pick([64, 4096, Math.ceil(this.#maxBytes / 2)])),
        this.#maxBytes - offset,
      ),
    );
    if (data.length === 0) return;
    const after = Buffer.alloc(Math.max(before.length, offset + data.length));
    before.copy(after);
    data.copy(after, offset);
    await this.#content(file, `write ${data.length} at ${offset}`, async (content) => {
      file.content.begin(after);
      await content.write(offset, data);
    });
  }

  async #commit(file: FileState, certainty: "acknowledged" | "durable"): Promise<void> {
    const { latest } = file.content;
    const names = this.names.certain;
    const births = this.#births.known;
    await this.#content(file, certainty === "durable" ? "fsync" : "flush", async (content) => {
      await (certainty === "durable" ? content.fsync() : content.flush());
      file.content.confirm(latest, certainty, this.#lastIndex);
      this.#births.born(file.ino, this.#lastIndex);
      if (certainty === "acknowledged") return;
      this.#checker.promise("fsync", this.name);
      // Whatever was answered before is on the disks with it.
      this.names.confirm(names, "durable", this.#lastIndex);
      this.#births.synced([...births, file.ino]);
    });
  }

  async #close(file: FileState): Promise<void> {
    const { open } = file;
    if (open === undefined) return;
    const { latest } = file.content;
    await this.#content(file, "close", async () => {
      file.open = undefined;
      await open.close();
      file.content.confirm(latest, "acknowledged", this.#lastIndex);
      this.#births.born(file.ino, this.#lastIndex);
      this.#checker.promise("close", this.name);
    });
  }

  async #truncate(file: FileState): Promise<void> {
    const before = file.content.latest.value;
    const size = this.#random.int(0, Math.min(this.#maxBytes, before.length + 4096));
    const after = Buffer.alloc(size);
    before.copy(after);
    await this.#content(file, `truncate to ${size}`, async (content) => {
      const version = file.content.begin(after);
      await content.truncate(size);
      file.content.confirm(version, "acknowledged", this.#lastIndex);
      this.#births.born(file.ino, this.#lastIndex);
    });
  }

  async #punch(file: FileState): Promise<void> {
    const after = Buffer.from(file.content.latest.value);
    const offset = this.#random.int(0, this.#maxBytes);
    const length = this.#random.int(1, this.#maxBytes);
    after.fill(0, Math.min(offset, after.length), Math.min(offset + length, after.length));
    await this.#content(file, `punch ${length} at ${offset}`, async (content) => {
      const version = file.content.begin(after);
      await content.punch(offset, length);
      file.content.confirm(version, "acknowledged", this.#lastIndex);
      this.#births.born(file.ino, this.#lastIndex);
    });
  }

  /** Copies from another file of this actor's, by reference. */
  async #copy(file: FileState): Promise<void> {
    const others = [...this.names.latest.value.values()].filter((ino) => ino !== file.ino && this.files.has(ino));
    if (others.length === 0) return;
    const source = this.files.get(this.#random.pick(others))!;
    const bytes = source.content.latest.value;
    if (source.tainted || source.unread || bytes.length === 0) return;
    const from = this.#random.int(0, bytes.length - 1);
    const before = file.content.latest.value;
    const offset = this.#random.int(0, Math.min(before.length, this.#maxBytes - 1));
    const length = Math.min(this.#random.int(1, this.#maxBytes), bytes.length - from, this.#maxBytes - offset);
    const after = Buffer.alloc(Math.max(before.length, offset + length));
    before.copy(after);
    bytes.copy(after, offset, from, from + length);
    const what = `copy ${length} at ${from} of ${this.#of(source)} to ${offset}`;
    await this.#content(file, what, async (content) => {
      source.open ??= await this.#access.open(source.ino);
      const version = file.content.begin(after);
      const copied = await content.copyFrom(source.open, from, offset, length);
      this.#checker.check(copied === length, `${this.name}: ${what} copies all, not ${copied} bytes`);
      file.content.confirm(version, "acknowledged", this.#lastIndex);
    });
  }

  /** Reads a part of a file: exactly what this actor made it. */
  async #read(file: FileState): Promise<void> {
    const wanted = file.content.latest.value;
    await this.#content(
      file,
      "read",
      async (content) => {
        const offset = this.#random.int(0, wanted.length);
        const target = Buffer.alloc(this.#random.int(0, this.#maxBytes));
        const bytes = await content.read(offset, target);
        const size = await content.size();
        this.#checker.check(size === wanted.length, `${this.#of(file)} has ${wanted.length} bytes, not ${size}`);
        const expected = wanted.subarray(offset, offset + target.length);
        const got = target.subarray(0, bytes);
        this.#checker.check(
          got.equals(expected),
          `${this.#of(file)} reads as it was written: ${difference(expected, got)}`,
        );
      },
      false,
    );
  }

  /** Something with a file's content, opened if it is not. A failed change leaves it nobody knows how: the file goes. */
  async #content(
    file: FileState,
    what: string,
    act: (content: OpenedFile) => Promise<void>,
    changes = true,
  ): Promise<void> {
    try {
      file.open ??= await this.#access.open(file.ino);
      await act(file.open);
      this.#tell(`${what} of ${this.#of(file)}`);
    } catch (err) {
      const code = codeOf(err);
      const stillborn = code === "ESTALE" && this.#births.isOpen(file.ino);
      this.#checker.check(
        (code !== "ESTALE" && code !== "EBADMSG") || stillborn,
        `${this.#of(file)} is there: ${messageOf(err)}`,
      );
      this.#checker.excuse(code, `${what} of ${this.#of(file)} (${messageOf(err)})`);
      if (changes || stillborn) file.tainted = true;
    }
  }

  /** Runs something on a file of this actor's; one that is tainted is removed instead. */
  async #withFile(act: (file: FileState) => Promise<void>): Promise<void> {
    const inos = [...this.names.latest.value.values()];
    if (inos.length === 0) return;
    const file = this.files.get(this.#random.pick(inos));
    if (file === undefined) return; // being made, nobody knows whether it was
    if (file.unread) return this.#verify(file, this.#nameOf(file)!);
    if (!file.tainted) return act(file);
    const { open } = file;
    file.open = undefined;
    await open?.close().catch(() => undefined); // who wrote to it has been told
    await this.#unlink(file);
  }

  /** Reads a file of another actor's: it is in a state that it had, or got, while we read. */
  async #readOther(): Promise<void> {
    const any = this.#random.pick(this.#others());
    const other = this.#others().find((one) => one !== this && one.#freshest() !== undefined) ?? any;
    const [name, ino] = other.#freshest() ?? this.#random.pick([...other.names.latest.value, ["", 0] as const]);
    const file = other.files.get(ino);
    if (other === this || file === undefined || file.tainted) return;
    const seen = file.content.watch();
    const target = Buffer.alloc(this.#maxBytes);
    let size: number;
    try {
      const { client } = this.#access;
      if (this.#random.chance(LOOKS)) await this.#look(other, name);
      const content = client.open(await client.meta.getInode(ino));
      try {
        size = await content.read(0, target);
      } finally {
        await content.close();
      }
    } catch (err) {
      seen();
      if (codeOf(err) === "ESTALE" || file.tainted) return; // removed meanwhile
      this.#checker.excuse(codeOf(err), `${this.name}: read ${other.name}'s ${name} (${messageOf(err)})`);
      return;
    }
    const allowed = seen();
    if (file.tainted) return;
    this.#checker.check(
      isMixture(target.subarray(0, size), allowed),
      `${this.name} reads ${other.name}'s ${name} (${ino}) as it was at some time meanwhile (${size} bytes, not of ${allowed.map((b) => b.length)})`,
    );
  }

  /** Looks up a name in another's directory: it stands for what it stood for at some time meanwhile. */
  async #look(other: Actor, name: string): Promise<void> {
    const { client } = this.#access;
    const ino = other.names.latest.value.get(name) ?? 0;
    const wasOpen = other.#births.isOpen(ino);
    const states = other.names.watch();
    let found: number | undefined;
    try {
      found = (await client.meta.lookup(other.#dir, Buffer.from(name))).ino;
    } catch (err) {
      if (codeOf(err) !== "ENOENT") throw err;
    } finally {
      states();
      // So that the directory may be the other's alone again: nothing of it is kept here.
      client.watch.forget([other.#dir]);
    }
    const meant = states().map((names) => names.get(name));
    const isAway = wasOpen && !this.#cluster.isSteady(other.daemon, other.#births.soundSince(ino));
    this.#checker.check(
      found === undefined ? meant.includes(undefined) || isAway : meant.includes(found) || meant.includes(-1),
      `${this.name} finds ${other.name}'s ${name}: one of ${meant.map((meaning) => meaning ?? "none")}, not ${found ?? "none"}`,
    );
  }

  // ---- after a start ----

  /** Finds what the actor before it left: everything must be in a state that it may have. */
  async #recover(): Promise<void> {
    this.#dir = await this.#directory(this.name);
    await this.#settleNames();
    await this.verify();
  }

  /** Compares every file with what it may hold; nothing may be under way. */
  async verify(): Promise<void> {
    for (const [name, ino] of this.names.latest.value) {
      const file = this.files.get(ino);
      if (file !== undefined && !file.tainted) await this.#verify(file, name);
    }
  }

  async #verify(file: FileState, name: string): Promise<void> {
    const seen = await this.#whole(file, name);
    if (seen === undefined) return;
    const fits = file.content.possible.some((content) => content.equals(seen));
    const nearest = file.content.latest.value;
    this.#checker.check(
      fits,
      `${this.name}'s ${name} (${file.ino}) is in one of the ${file.content.possible.length} states it may have, not ${seen.length} bytes: ${difference(nearest, seen)}`,
    );
    if (!file.content.isCertain) file.content.settle(seen, this.#lastIndex);
  }

  async #whole(file: FileState, name: string): Promise<Buffer | undefined> {
    const target = Buffer.alloc(this.#maxBytes + 1);
    try {
      const content = await this.#access.open(file.ino);
      const size = await content.read(0, target);
      await content.close();
      file.unread = false;
      return target.subarray(0, size);
    } catch (err) {
      const code = codeOf(err);
      this.#checker.check(code !== "ESTALE", `${this.name}'s ${name} is there: ${messageOf(err)}`);
      this.#tell(`${name} cannot be read (${messageOf(err)})`);
      // Bytes that were acknowledged, but synced by nobody, may have gone with the power of all replicas.
      file.unread = !(await this.#hasSynced(file, name));
      file.tainted = !file.unread;
      return undefined;
    }
  }

  /** Whether the bytes of a file that were synced, and not changed since, can be read. */
  async #hasSynced(file: FileState, name: string): Promise<boolean> {
    const states = file.content.sinceDurable;
    try {
      const content = await this.#access.open(file.ino);
      for (const { from, to } of agreement(states)) {
        const target = Buffer.alloc(to - from);
        const size = await content.read(from, target);
        const wanted = states[0]!.subarray(from, to);
        this.#checker.check(
          target.subarray(0, size).equals(wanted),
          `${this.name}'s ${name} (${file.ino}) has from ${from} what was synced: ${difference(wanted, target.subarray(0, size))}`,
        );
      }
      await content.close();
      return true;
    } catch (err) {
      this.#checker.check(!this.#checker.isCalm, `${this.name}'s ${name} has what was synced: ${messageOf(err)}`);
      this.#tell(`${name} has lost what was synced, or cannot be read yet (${messageOf(err)})`);
      return false;
    }
  }

  async #directory(name: string): Promise<number> {
    try {
      return await this.#access.mkdir(ROOT_INO, name);
    } catch (err) {
      if (codeOf(err) !== "EEXIST") throw err;
      return this.#access.lookup(ROOT_INO, name);
    }
  }

  get #access(): Access {
    return this.#current!;
  }

  get #lastIndex(): number {
    return this.#cluster.namenode.disk.lastIndex;
  }

  #nameOf(file: FileState): string | undefined {
    for (const [name, ino] of this.names.latest.value) if (ino === file.ino) return name;
    return undefined;
  }

  #of(file: FileState): string {
    return `${this.name}'s ${this.#nameOf(file) ?? "nameless file"} (${file.ino})`;
  }

  #tell(what: string): void {
    this.#checker.tell(`${this.name}: ${what}`);
  }
}

function newFile(ino: number, open?: OpenedFile): FileState {
  return { ino, content: new Versions(Buffer.alloc(0)), tainted: false, unread: false, open };
}

function with_(names: Names, more: [string, number][]): Names {
  return new Map([...names, ...more]);
}

function without(names: Names, name: string): Names {
  const rest = new Map(names);
  rest.delete(name);
  return rest;
}

/** Whether a directory is what it may be; -1: a file whose number its maker did not learn. */
function sameNames(may: Names, is: Names, births: Births): boolean {
  let found = 0;
  for (const [name, ino] of may) {
    const seen = is.get(name);
    if (seen !== undefined) found++;
    if (seen === undefined ? !births.isOpen(ino) : ino !== -1 && ino !== seen) return false;
  }
  return found === is.size;
}

/** Whether every byte is one that a state has there: a read may see one state's size and another's bytes. */
function isMixture(seen: Buffer, states: readonly Buffer[]): boolean {
  if (!states.some(({ length }) => length === seen.length)) return false;
  if (states.some((state) => state.equals(seen))) return true;
  for (let i = 0; i < seen.length; i++) {
    if (!states.some((state) => (state[i] ?? 0) === seen[i])) return false;
  }
  return true;
}

/** Bytes in one stretch that some states agree on not by chance: so few at the edges of a change may be equal before and after. */
const CHANCE_BYTES = 8;

/** The stretches of bytes that all states have in common: what nobody has changed from the first to the last. */
function agreement(states: readonly Buffer[]): { from: number; to: number }[] {
  const stretches: { from: number; to: number }[] = [];
  const [first, ...others] = states as [Buffer, ...Buffer[]];
  let start = 0;
  for (let at = 0; at <= first.length; at++) {
    if (at < first.length && others.every((other) => other[at] === first[at])) continue;
    const from = start === 0 ? 0 : start + CHANCE_BYTES;
    const to = at === first.length ? at : at - CHANCE_BYTES;
    if (from < to) stretches.push({ from, to });
    start = at + 1;
  }
  return stretches;
}

function difference(wanted: Buffer, seen: Buffer): string {
  if (wanted.equals(seen)) return "no difference";
  if (wanted.length !== seen.length) return `${seen.length} bytes instead of ${wanted.length}`;
  const at = seen.findIndex((byte, i) => byte !== wanted[i]);
  return `byte ${at} is ${seen[at]}, not ${wanted[at]}`;
}
