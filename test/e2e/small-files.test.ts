import { expect } from "chai";
import { requireFuse, TestCluster } from "../support/cluster.js";
import { sh } from "../support/run.js";

describe("small files", function () {
  this.timeout(900_000);
  let cluster: TestCluster;
  let files: string;
  before(async () => {
    requireFuse();
    cluster = await TestCluster.start({ datanodes: 1 });
    files = `${cluster.mount}/files`;
  });
  after(() => cluster?.destroy());

  const attributes = (dir: string) => sh(`cd ${dir}; find . -type f -printf '%P %m %U %G %s %T@\\n' | sort`);
  const same = async () => {
    await sh(`diff -r ${cluster.root}/original ${files}`);
    expect(await attributes(files)).to.equal(await attributes(`${cluster.root}/original`));
  };

  it("are kept by the namenode with their attributes, and outlive its death", async () => {
    const original = `${cluster.root}/original`;
    await sh(`mkdir ${original}; cd ${original}
      for i in $(seq 60); do
        head -c $((i * 270)) /dev/urandom > $i; chmod $((400 + i)) $i 2> /dev/null || chmod 600 $i
        chown $i:$((i * 2)) $i; touch -d @$((1000000000 + i)).123456789 $i
      done
      cp -a ${original} ${files}`);
    await cluster.restart("namenode");
    await same();
    expect(await cluster.report()).to.include({ files: 60, blocks: 0 });
    expect((await cluster.fsck()).summary).to.include({ files: 60, blocks: 60, healthy: true });
  });

  it("are there for another mount, and after an orderly stop", async () => {
    await cluster.down();
    await cluster.up();
    await same();
    await cluster.restart("mount");
    await same();
  });

  it("may be overwritten, cut and added to, until they are large", async () => {
    await sh(`cd ${files}; cp 60 ${cluster.root}/grown; head -c 400000 /dev/urandom > ${cluster.root}/noise
      for f in 60 ${cluster.root}/grown; do
        printf changed | dd of=$f bs=1 seek=1000 conv=notrunc,fsync status=none
        truncate -s 12345 $f
        for i in $(seq 40); do dd if=${cluster.root}/noise bs=9000 skip=$i count=1 status=none >> $f; done
      done
      cmp 60 ${cluster.root}/grown`);
    expect((await cluster.report()).blocks).to.be.above(0);
    await cluster.restart("mount");
    await sh(`cmp ${files}/60 ${cluster.root}/grown`);
    await cluster.healthy();
  });
});
