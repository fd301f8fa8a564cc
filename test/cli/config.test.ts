import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { readConfig, readConfigIfAny, writeConfig } from "../../cli/cluster/config.js";
import { findNamenode, findSecret } from "../../cli/where.js";

const config = { httpPort: 1234, datanodePorts: [1, 2, 3], mount: "/mnt/here" };

describe("a cluster's root", () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "cairn-root-"));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  it("remembers what the cluster was started with", () => {
    expect(readConfigIfAny(root)).to.equal(undefined);
    expect(() => readConfig(root))
      .to.throw(/no cluster was started/)
      .with.property("code", "ENOENT");
    writeConfig(root, config);
    expect(readConfig(root)).to.deep.equal(config);
  });

  it("is refused when its cluster.json is damaged", () => {
    for (const text of ["", "{}", "[]", '{"format":"cairn-cluster-1","httpPort":0}']) {
      writeFileSync(join(root, "cluster.json"), text);
      expect(() => readConfig(root), text)
        .to.throw(/is damaged/)
        .with.property("code", "EINVAL");
    }
  });

  it("is where commands find their namenode, unless a flag or the environment names one", () => {
    writeConfig(root, config);
    const env = { CAIRN_NAMENODE: "http://env:2" };
    expect(findNamenode({ namenode: "http://flag:1", root }, env)).to.deep.equal({ host: "flag", port: 1 });
    expect(findNamenode({ root }, env)).to.deep.equal({ host: "env", port: 2 });
    expect(findNamenode({ root }, {})).to.deep.equal({ host: "127.0.0.1", port: 1234 });
    expect(() => findNamenode({ namenode: "a b" }, {})).to.throw(/--namenode: "a b"/);
  });

  it("the secret is read from a file, which must be there and not empty", () => {
    const path = join(root, "secret");
    expect(findSecret({}, {})).to.equal(undefined);
    expect(() => findSecret({ secretFile: path }, {})).to.throw(/cannot read the cluster's secret/);
    writeFileSync(path, " \n");
    expect(() => findSecret({ secretFile: path }, {})).to.throw(/is empty/);
    writeFileSync(path, "hush\n");
    expect(findSecret({}, { CAIRN_SECRET_FILE: path })).to.equal("hush");
  });
});
