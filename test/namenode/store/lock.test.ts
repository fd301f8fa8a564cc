import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { FolderLock } from "../../../namenode/store/lock.js";
import { tempFolder } from "./temp.js";

describe("FolderLock", () => {
  const temp = tempFolder();
  const refusal = (folder: string) =>
    FolderLock.take(folder).then(
      () => undefined,
      (err: unknown) => err,
    );

  it("is held by one at a time, also within one process", async () => {
    const folder = temp.path("data");
    const lock = await FolderLock.take(folder);
    const err = await refusal(folder);
    expect(err).property("code", "EBUSY");
    expect(err).property("message", `lock the folder ${folder}: process ${process.pid} is using it`);
    await lock.release();
    await (await FolderLock.take(folder)).release();
  });

  it("is gone with the process that held it, however it ended", async () => {
    const folder = temp.path("killed");
    const child = spawn(process.execPath, [fileURLToPath(new URL("lock-child.js", import.meta.url)), folder], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(child.stdout, "data");
    const err = await refusal(folder);
    expect(err).property("message", `lock the folder ${folder}: process ${child.pid} is using it`);
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
    await (await FolderLock.take(folder)).release();
  });
});
