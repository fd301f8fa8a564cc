#!/usr/bin/env -S node --v8-pool-size=1
// The `cairn` command. CommonJS, because libuv reads the size of its thread pool when the pool is first used, and loading a
// module of the ESM kind uses it: this file is the last moment at which it can still be set. The flag is NODE_FLAGS of common/engine.ts.

const { setFlagsFromString } = require("node:v8") as typeof import("node:v8");

/** Threads for file work in a daemon: a few disks, each with a few requests under way. */
const DAEMON_THREADS = "16";
const DAEMONS = ["namenode", "datanode", "mount"];

if (DAEMONS.includes(process.argv[2] ?? "")) {
  process.env["UV_THREADPOOL_SIZE"] ??= DAEMON_THREADS;
  // Functions are compiled while their modules are loaded, instead of when the first request needs them (docs/performance.md).
  setFlagsFromString("--no-lazy");
}
void import("./main.js").then(({ main }) => main(process.argv));
