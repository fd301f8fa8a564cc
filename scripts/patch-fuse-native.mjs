// Patches the fuse-native addon and builds it. Run by npm after every install (postinstall); does nothing when it is done already.
//
// fuse-native 2.2.6 hands every program's utimens an mtime that is the atime, hides who calls and with which flags a file is
// created, takes names for UTF-8, inode numbers for 32 bits and times for milliseconds, lists a directory in one piece, leaks a
// little with every thread that libfuse starts, and does not say when the mount has gone. patches/fuse-native-2.2.6.patch is a
// unified diff that mends this; the binding (fuse/native/) needs it and says so when it is missing.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const VERSION = "2.2.6";
const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(createRequire(import.meta.url).resolve("fuse-native/package.json"));
const diff = readFileSync(join(here, "patches", `fuse-native-${VERSION}.patch`), "utf8");
const stamp = join(root, "build", "Release", "cairnfs.stamp");
const wanted = createHash("sha256").update(diff).update(process.arch).digest("hex");

const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
if (version !== VERSION) fail(`the patch is for fuse-native ${VERSION}, installed is ${version}`);
if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) process.exit(0);

const source = join(root, "fuse-native.c");
const original = `${source}.orig`;
if (!existsSync(original)) copyFileSync(source, original);
writeFileSync(source, apply(readFileSync(original, "utf8"), diff));
build();
writeFileSync(stamp, wanted);
console.log("fuse-native: patched and built");

/** Applies a unified diff of one file; every hunk's old text must be there exactly once. */
function apply(text, unified) {
  const hunks = unified.split(/^@@ .*@@.*\n/m).slice(1);
  for (const hunk of hunks) {
    const lines = hunk.replace(/\n$/, "").split("\n");
    const side = (drop) =>
      lines
        .filter((line) => line[0] !== drop)
        .map((line) => `${line.slice(1)}\n`)
        .join("");
    const [before, after] = [side("+"), side("-")];
    const at = text.indexOf(before);
    if (at < 0 || text.indexOf(before, at + 1) >= 0) fail(`this hunk does not fit ${source}:\n${hunk}`);
    text = text.slice(0, at) + after + text.slice(at + before.length);
  }
  return text;
}

/** Compiles with node-gyp, the one that npm brings, against the headers beside this node where there are any. */
function build() {
  const prefix = resolve(dirname(realpathSync(process.execPath)), "..");
  const args = ["rebuild", "--directory", root];
  if (existsSync(join(prefix, "include", "node", "node_api.h"))) args.push(`--nodedir=${prefix}`);
  rmSync(join(root, "build"), { recursive: true, force: true });
  try {
    execFileSync(process.execPath, [nodeGyp(), ...args], { stdio: ["ignore", "pipe", "pipe"] });
  } catch (err) {
    fail(`compiling it failed (needed: python3, make, g++)\n${err.stdout ?? ""}${err.stderr ?? err.message}`);
  }
}

/** The path of node-gyp's program. */
function nodeGyp() {
  const candidates = [process.env.npm_config_node_gyp];
  for (const dir of (process.env.PATH ?? "").split(delimiter)) {
    const npm = join(dir, "npm");
    if (existsSync(npm)) candidates.push(join(dirname(realpathSync(npm)), "../node_modules/node-gyp/bin/node-gyp.js"));
  }
  return candidates.find((path) => path && existsSync(path)) ?? fail("node-gyp is missing; npm brings it along");
}

/** Says what is wrong and ends. */
function fail(why) {
  console.error(`patch-fuse-native: ${why}`);
  process.exit(1);
}
