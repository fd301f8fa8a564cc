import { expect } from "chai";
import { z } from "zod";
import { formatAddress, parseAddress } from "../../common/address.js";
import { bytes, envOf, flag, flagOf, integer, loadSettings, namenodeAddress, setting } from "../../common/settings.js";

const table = {
  port: setting("a port", integer(0, 65_535), 9870),
  dataDir: setting("a folder", z.string().min(1)),
  blockSize: setting("bytes", bytes(1, 2 ** 40), 64),
  quiet: setting("a switch", flag, false),
  rack: setting("may be absent", z.string().optional()),
  namenode: setting("an address", namenodeAddress, { host: "127.0.0.1", port: 9870 }),
};
const load = (sources: Parameters<typeof loadSettings>[2]) =>
  loadSettings("namenode", table, { ...sources, flags: { dataDir: "/data", ...sources.flags } });

describe("settings", () => {
  it("have flags and variables named after them", () => {
    expect(flagOf("dataDir")).to.equal("--data-dir");
    expect(envOf("namenode", "dataDir")).to.equal("CAIRN_NAMENODE_DATA_DIR");
  });

  it("come from the flag, else the environment, else the file, else the fallback, else the default", () => {
    const env = { CAIRN_NAMENODE_PORT: "2" };
    const file = { port: 3 };
    const fallbacks = { port: 4 };
    expect(load({ flags: { port: "1" }, env, file, fallbacks }).port).to.equal(1);
    expect(load({ env, file, fallbacks }).port).to.equal(2);
    expect(load({ file, fallbacks }).port).to.equal(3);
    expect(load({ fallbacks }).port).to.equal(4);
    expect(load({})).to.deep.equal({
      port: 9870,
      dataDir: "/data",
      blockSize: 64,
      quiet: false,
      rack: undefined,
      namenode: { host: "127.0.0.1", port: 9870 },
    });
  });

  const wrong: [what: string, sources: Parameters<typeof loadSettings>[2], says: RegExp][] = [
    ["a wrong flag", { flags: { port: "x" } }, /flag --port: "x": not a whole number/],
    ["an empty number", { flags: { port: "" } }, /flag --port/],
    ["a number out of range", { flags: { port: "65536" } }, /flag --port: "65536"/],
    ["a wrong variable", { env: { CAIRN_NAMENODE_QUIET: "yes" } }, /variable CAIRN_NAMENODE_QUIET: "yes": neither/],
    ["an unknown variable", { env: { CAIRN_NAMENODE_PROT: "1" } }, /unknown setting .*CAIRN_NAMENODE_PROT/],
    ["a wrong value in the file", { file: { port: [] }, filePath: "/f" }, /"port" in \/f/],
    ["an unknown name in the file", { file: { prot: 1 }, filePath: "/f" }, /unknown setting "prot" .*\/f/],
    ["a name that every object has", { file: { toString: 1 }, filePath: "/f" }, /unknown setting "toString"/],
    ["an absent value that is required", { flags: { dataDir: undefined } }, /--data-dir or CAIRN_NAMENODE_DATA_DIR/],
  ];
  for (const [what, sources, says] of wrong) {
    it(`refuse ${what}, and name it`, () => {
      expect(() => load(sources))
        .to.throw(says)
        .with.property("code", "EINVAL");
    });
  }

  it("leave alone the variables of others, CAIRN_NAMENODE of the clients among them", () => {
    expect(load({ env: { CAIRN_NAMENODE: "http://h:1", CAIRN_DATANODE_X: "1" } }).port).to.equal(9870);
  });

  it("read sizes with units of 1024", () => {
    const size = (text: string | number) => load({ flags: { blockSize: text } }).blockSize;
    expect(["7", 7, "1k", "1.5KiB", "64M", "2 GiB"].map(size)).to.deep.equal([7, 7, 1024, 1536, 64 << 20, 2 ** 31]);
    for (const text of ["", "k", "1x", "-1", "1k1"]) expect(() => size(text), text).to.throw(/not a size/);
  });
});

describe("addresses", () => {
  it("are read from URLs, host and port, or a host alone", () => {
    const read: [string, string, number][] = [
      ["http://node1:1234", "node1", 1234],
      ["http://node1:1234/", "node1", 1234],
      ["ws://10.0.0.1:80", "10.0.0.1", 80],
      ["node1", "node1", 9870],
      ["[::1]:5", "::1", 5],
    ];
    for (const [text, host, port] of read) expect(parseAddress(text), text).to.deep.equal({ host, port });
    for (const text of ["", "://", "a:0", "a:65536", "a b:1", "ftp://a:1", "http://a:1/x", "::1"]) {
      expect(parseAddress(text), text).to.equal(undefined);
    }
  });

  it("are written so that they can be read", () => {
    for (const text of ["node1:7", "[fe80::1]:7"]) expect(formatAddress(parseAddress(text)!)).to.equal(text);
  });
});
