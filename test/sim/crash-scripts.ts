import type { CrashScript } from "./crash-points.js";
import type { CrashProgram } from "./crash-program.js";
import { Random } from "./random.js";

const KIB = 1024;
const random = new Random(7);
/** Contents that no other write of a script has. */
const bytes = (length: number) => random.bytes(length);

/** Makes a file as careful programs do. */
async function make(program: CrashProgram, name: string, data: Buffer): Promise<void> {
  await program.create(name);
  await program.write(name, 0, data);
  await program.fsync(name);
  await program.close(name);
}

/** A file that is replaced by another: with and without an fsync before. */
function replace(size: number, isSynced: boolean): CrashScript["run"] {
  const [first, second] = [bytes(size), bytes(size + 512)];
  return async (program) => {
    for (const [tmp, data] of [
      ["f.tmp1", first],
      ["f.tmp2", second],
    ] as const) {
      await program.create(tmp);
      await program.write(tmp, 0, data);
      if (isSynced) await program.fsync(tmp);
      else await program.close(tmp);
      await program.rename(tmp, "f");
      if (!isSynced) continue;
      await program.close(tmp);
      await program.fsyncDirectory();
    }
  };
}

/** A file that is written in places, appended to and cut. */
function change(unit: number): CrashScript["run"] {
  const data = [bytes(unit), bytes(2 * unit), bytes(unit), bytes(unit)];
  return async (program) => {
    await program.open("f");
    await program.write("f", unit, data[0]!);
    await program.close("f");
    await program.open("f");
    await program.write("f", 4 * unit, data[1]!);
    await program.fsync("f");
    await program.write("f", 0, data[2]!);
    await program.fsync("f");
    await program.truncate("f", 3 * unit);
    await program.write("f", 3 * unit, data[3]!);
    await program.close("f");
  };
}

const old = (size: number) => {
  const data = bytes(size);
  return (program: CrashProgram) => make(program, "f", data);
};

const names: CrashScript["run"] = async (program) => {
  await program.mkdir("sub");
  await program.create("empty");
  await program.close("empty");
  await program.fsyncDirectory();
  await program.unlink("empty");
  await program.rename("f", "g");
  await program.fsyncDirectory();
  await program.unlink("g");
};

/** Nobody asks for anything: time makes it safe. */
function wait(size: number): CrashScript["run"] {
  const data = bytes(size);
  return async (program) => {
    await program.create("g");
    await program.write("g", 0, data);
    await program.close("g");
    await program.unlink("f");
    await program.sleep(400);
    await program.mkdir("sub");
    await program.sleep(17_000);
  };
}

/** What an older state needs goes only when there is no way back to it, however soon others write. */
function undo(unit: number): CrashScript["run"] {
  const data = [bytes(5 * unit), bytes(unit), bytes(unit), bytes(unit)];
  return async (program) => {
    await program.create("f.tmp");
    await program.write("f.tmp", 0, data[0]!);
    await program.close("f.tmp");
    await program.rename("f.tmp", "f");
    for (const [i, more] of data.slice(1).entries()) {
      await program.sleep(30);
      await program.create(`g${i}`);
      await program.write(`g${i}`, 0, more);
      await program.close(`g${i}`);
    }
  };
}

/** What files of 16 KiB are made of lives in the namenode's journal, or on datanodes. */
const INLINE = { inlineBytes: 64 * KIB, unit: 4 * KIB } as const;
const BLOCKS = { inlineBytes: 0, unit: 16 * KIB } as const;

/** Programs that are interrupted at every change of a disk. */
export const CRASH_SCRIPTS: readonly CrashScript[] = [INLINE, BLOCKS].flatMap(({ inlineBytes, unit }) => {
  const where = inlineBytes > 0 ? "small files" : "files on datanodes";
  const on = { inlineBytes, before: old(4 * unit) };
  return [
    { ...on, name: `${where} that are synced and renamed over an older one`, run: replace(5 * unit, true) },
    { ...on, name: `${where} that are closed and renamed over an older one`, run: replace(5 * unit, false) },
    { ...on, name: `${where} that are changed in place`, run: change(unit) },
    { ...on, name: `names of ${where}`, run: names },
    { ...on, name: `${where} that nobody syncs`, run: wait(2 * unit) },
    {
      ...on,
      name: `${where} that are replaced while the journal is not synced`,
      run: undo(unit),
      journalSyncMs: 5_000,
    },
  ];
});
