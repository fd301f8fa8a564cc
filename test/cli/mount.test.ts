import { expect } from "chai";
import { parseMountOptions } from "../../cli/mount-options.js";
import { parseSource } from "../../cli/source.js";

describe("what is mounted", () => {
  for (const [text, source] of Object.entries({
    "/": { subdir: "/" },
    "/a:b/c": { subdir: "/a:b/c" },
    host: { namenode: "host" },
    "host:9870": { namenode: "host:9870" },
    "host:/a/b": { namenode: "host", subdir: "/a/b" },
    "host:9870:/a:/b": { namenode: "host:9870", subdir: "/a:/b" },
    "[::1]:9870:/a": { namenode: "[::1]:9870", subdir: "/a" },
    "http://host:9870": { namenode: "http://host:9870" },
    "http://host:9870/a": { namenode: "http://host:9870", subdir: "/a" },
    "http://host:9870:/a": { namenode: "http://host:9870", subdir: "/a" },
  })) {
    it(`is understood: ${text}`, () => expect(parseSource(text)).to.deep.equal(source));
  }

  it("is refused when it is a relative path", () => {
    for (const text of ["", "a/b", "./a", "http://"]) expect(() => parseSource(text)).to.throw(/cannot mount/);
  });
});

describe("mount options", () => {
  it("are mount(8)'s words and the mount's settings; what is for others is passed over", () => {
    expect(
      parseMountOptions(
        "ro,nosuid,dev,cache-ms=5,allow_other,uid=7,secret-file=/etc/s,_netdev,noauto,user=me,x-systemd.automount",
      ),
    ).to.deep.equal({
      readOnly: true,
      suid: false,
      dev: true,
      cacheMs: "5",
      allowOther: true,
      uid: "7",
      secretFile: "/etc/s",
    });
    expect(parseMountOptions("ro,rw")).to.deep.equal({ readOnly: false });
    expect(parseMountOptions("defaults,nofail,relatime,comment=x")).to.deep.equal({});
    expect(parseMountOptions("noatime,nodiratime")).to.deep.equal({ noatime: true, nodiratime: true });
    expect(parseMountOptions("noatime,atime")).to.deep.equal({ noatime: false });
    expect(() => parseMountOptions("strictatime")).to.throw(/unknown mount option/);
    expect(() => parseMountOptions("rw,speed=11")).to.throw(/unknown mount option "speed"/);
    expect(() => parseMountOptions("mountpoint=/x")).to.throw(/unknown/);
  });
});
