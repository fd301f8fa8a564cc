// Run by lock.test.ts: takes the lock of the folder given, says so, and holds it until it is killed.
import { FolderLock } from "../../../namenode/store/lock.js";

const lock = await FolderLock.take(process.argv[2]!);
process.stdout.write("locked\n");
setInterval(() => lock, 1000);
