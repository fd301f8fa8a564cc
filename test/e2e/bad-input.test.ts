import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { expect } from "chai";
import { WebSocket } from "ws";
import { encodeFrame } from "../../proto/frame.js";
import { EnvelopeKind } from "../../proto/gen/types.js";
import { CAIRN, cairn, cleanEnv, requireFuse, TestCluster } from "../support/cluster.js";
import { run, sh } from "../support/run.js";

/** `cairn: <sentence> (ERRNO)`, in one line. */
const COMPLAINT = /^cairn: [^\n]+ \([A-Z]+\)\n$/;

describe("bad command lines and settings", () => {
  const wrong: [what: string, args: string[], env: NodeJS.ProcessEnv, says: RegExp][] = [
    ["an unknown command", ["frobnicate"], {}, /frobnicate/],
    ["an unknown flag", ["fs", "ls", "--frobnicate"], {}, /--frobnicate/],
    ["an unknown flag of a daemon", ["datanode", "--frobnicate", "1"], {}, /--frobnicate/],
    ["a missing argument", ["fs", "mkdir"], {}, /argument/],
    ["a wrong value", ["namenode", "--data-dir", "/nowhere", "--port", "many"], {}, /--port.*many/],
    ["a setting that is required", ["namenode"], {}, /--data-dir/],
    ["an unknown variable", ["namenode"], { CAIRN_NAMENODE_COLOUR: "red" }, /CAIRN_NAMENODE_COLOUR/],
    ["a wrong variable", ["namenode", "--data-dir", "/nowhere"], { CAIRN_NAMENODE_PORT: "-1" }, /CAIRN_NAMENODE_PORT/],
    ["a URL that is none", ["fs", "ls", "--namenode", "://"], {}, /--namenode/],
  ];
  for (const [what, args, env, says] of wrong) {
    it(`${what}: exit status 2 and a sentence`, async () => {
      const { code, stderr, stdout } = await cairn(args, { env: cleanEnv(env) });
      expect(code, stderr).to.equal(2);
      expect(stderr).to.match(COMPLAINT).and.to.match(says);
      expect(stdout).to.equal("");
    });
  }

  it("an unknown setting in a file: exit status 2 and a sentence", async () => {
    const cluster = new TestCluster();
    try {
      const file = join(cluster.root, "settings.json");
      writeFileSync(file, '{"dataDir": "/nowhere", "colour": "red"}');
      const { code, stderr } = await cairn(["namenode", "--config", file]);
      expect(code).to.equal(2);
      expect(stderr)
        .to.match(COMPLAINT)
        .and.to.match(/"colour"/);
    } finally {
      cluster.destroy();
    }
  });

  for (const args of [
    ["fs", "ls"],
    ["admin", "report"],
    ["admin", "fsck"],
  ]) {
    it(`a namenode that is not there: cairn ${args.join(" ")} says so soon`, async () => {
      const { code, stderr } = await cairn([...args, "--namenode", "http://127.0.0.1:1"], { timeoutMs: 300_000 });
      expect(code).to.equal(1);
      expect(stderr)
        .to.match(COMPLAINT)
        .and.to.match(/127\.0\.0\.1:1\b/);
    });
  }
});

describe("bad input to a running cluster", function () {
  this.timeout(900_000);
  let cluster: TestCluster;
  before(async () => {
    requireFuse();
    cluster = await TestCluster.start();
    await sh(`cp ${process.execPath} ${cluster.mount}/precious`, { timeoutMs: 300_000 });
  });
  after(() => cluster?.destroy());

  it("a name of 256 bytes is ENAMETOOLONG, one of 255 is not", async () => {
    const [fits, tooLong] = [`${"é".repeat(127)}x`, "é".repeat(128)];
    await sh(`echo text > ${cluster.mount}/${fits}; grep -q text ${cluster.mount}/${fits}`);
    const touch = await run("touch", [`${cluster.mount}/${tooLong}`]);
    expect(touch.code).to.equal(1);
    expect(touch.stderr).to.match(/File name too long/);
    const mkdir = await cluster.cairn(["fs", "mkdir", `/${tooLong}`]);
    expect(mkdir.code).to.equal(1);
    expect(mkdir.stderr).to.match(/\(ENAMETOOLONG\)\n$/);
  });

  it("garbage on every port harms nobody", async () => {
    const daemons = ["namenode", "datanode-1", "datanode-2", "datanode-3", "mount"];
    const pids = daemons.map((name) => cluster.pid(name));
    for (const port of [cluster.port, ...cluster.datanodePorts]) {
      for (const bytes of [
        randomBytes(100_000),
        Buffer.from("GET / HTTP/9.9\r\n\r\n\r\n"),
        Buffer.alloc(70_000, "A"),
      ]) {
        await sendRaw(port, bytes);
      }
      for (const message of garbageMessages()) await sendMessage(port, message);
    }
    for (const name of daemons.slice(0, 4)) expect(cluster.startedMs(name), name).not.to.equal(undefined);
    expect(daemons.map((name) => cluster.pid(name))).to.deep.equal(pids);
    expect((await cluster.report()).datanodes.map((d) => d.state)).to.deep.equal(["live", "live", "live"]);
    await sh(`echo 3 > /proc/sys/vm/drop_caches; cmp ${process.execPath} ${cluster.mount}/precious`, {
      timeoutMs: 300_000,
    });
    await sh(`echo more > ${cluster.mount}/more`);
  });

  it("a datanode of another cluster is refused, with a sentence, and keeps its blocks", async () => {
    const other = await TestCluster.start({ datanodes: 1 });
    try {
      await sh(`echo theirs > ${other.mount}/file`);
      await other.kill("datanode-1");
      const flags = ["--data-dirs", join(other.root, "datanode-1"), "--port", "0"];
      const stray = await run(
        process.execPath,
        [CAIRN, "datanode", ...flags, "--namenode", `http://127.0.0.1:${cluster.port}`],
        { env: cluster.env, timeoutMs: 300_000 },
      );
      expect(stray.code).to.equal(1);
      expect(stray.stderr).to.match(/cluster.*\(EPERM\)\n$/s);
      expect((await cluster.report()).datanodes).to.have.length(3);
      await other.up();
      expect(await sh(`cat ${other.mount}/file`)).to.equal("theirs\n");
    } finally {
      other.destroy();
    }
  });
});

/** What a link must survive: each is one WebSocket message. */
function garbageMessages(): (Buffer | string)[] {
  const call = (method: string, message: Buffer) => encodeFrame({ kind: EnvelopeKind.CALL, id: 1, method, message });
  return [
    "text",
    Buffer.alloc(0),
    Buffer.from([0xff]),
    Buffer.from([0xff, 0xff, 1, 2, 3]),
    randomBytes(1_000),
    randomBytes(1_000_000),
    Buffer.alloc(5_000_000), // larger than any message may be
    call("No.Such", randomBytes(100)),
    call("Namenode.Commit", randomBytes(500)),
    call("Namenode.Create", Buffer.alloc(0)),
    call("Datanode.OpenWrite", randomBytes(500)),
    call("Datanode.ReadBlock", Buffer.alloc(0)),
    call("Registry.Register", Buffer.alloc(0)),
    encodeFrame({ kind: EnvelopeKind.PUSH, method: "BlockStream.Packet", message: randomBytes(200) }, randomBytes(500)),
    encodeFrame({ kind: EnvelopeKind.REPLY, id: 77, message: randomBytes(20) }),
  ];
}

/** Sends bytes to a port as they are; resolves when the other side has closed, or has had its time. */
function sendRaw(port: number, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.end(bytes));
    socket.setTimeout(500, () => socket.destroy());
    socket.on("error", () => {}); // a reset is an answer too
    socket.on("close", () => resolve());
    socket.resume();
  });
}

/** Sends one message over a new link; resolves when there was an answer, or the link was closed. */
function sendMessage(port: number, message: Buffer | string): Promise<void> {
  return new Promise((resolve) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/link`);
    const timer = setTimeout(() => socket.terminate(), 500);
    socket.on("open", () => socket.send(message));
    socket.on("message", () => socket.close());
    socket.on("error", () => {}); // being cut off is an answer too
    socket.on("close", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
