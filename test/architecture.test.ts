import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";

/** The built code: dist/. Its imports are those of the sources, but for types, which make no arrows between programs. */
const BUILT = fileURLToPath(new URL("..", import.meta.url));

/** Which rooms each room may import from, besides itself: the arrows of docs/architecture.md. */
const ARROWS: Record<string, readonly string[]> = {
  common: [],
  proto: ["common"],
  namenode: ["proto", "common"],
  datanode: ["proto", "common"],
  client: ["proto", "common"],
  fuse: ["client", "proto", "common"],
  cli: ["fuse", "client", "proto", "common"],
};
/** Modules of the daemons that the command line imports: to start them, and to work on their data while they do not run. */
const ENTRY_POINTS = /^(namenode|datanode)\/(main|settings|offline)\.js$/;

const modulesOf = (room: string): string[] =>
  readdirSync(join(BUILT, room), { recursive: true, encoding: "utf8" })
    .filter((name) => /\.c?js$/.test(name))
    .map((name) => `${room}/${name}`);

/** The modules of this project that a module imports, statically or when needed, as paths below dist/. */
function importsOf(module: string): string[] {
  const code = readFileSync(join(BUILT, module), "utf8");
  const specifiers = [...code.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"(\.{1,2}\/[^"]+)"/g)].map((m) => m[1] ?? "");
  return specifiers.map((specifier) => join(module, "..", specifier));
}

describe("the architecture", () => {
  for (const [room, allowed] of Object.entries(ARROWS)) {
    it(`${room}/ imports only from ${allowed.join(", ") || "itself"}`, () => {
      const modules = modulesOf(room);
      expect(modules, `modules of ${room}`).not.to.deep.equal([]);
      const wrong = modules.flatMap((module) =>
        importsOf(module)
          .filter((target) => ![room, ...allowed].includes(target.split("/")[0] ?? ""))
          .filter((target) => !(room === "cli" && ENTRY_POINTS.test(target)))
          .map((target) => `${module} → ${target}`),
      );
      expect(wrong).to.deep.equal([]);
    });
  }

  it("keeps the daemons' stores out of a client command", () => {
    const seen = new Set<string>();
    const reach = (module: string): void => {
      if (seen.has(module)) return;
      seen.add(module);
      for (const target of importsOf(module)) reach(target);
    };
    for (const module of modulesOf("cli/fs")) reach(module);
    expect([...seen].filter((module) => /^(namenode|datanode|fuse)\//.test(module))).to.deep.equal([]);
    expect(seen.has("client/index.js")).to.equal(true);
  });
});
