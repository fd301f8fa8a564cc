import { codeOf } from "../../common/errors.js";
import { ROOT_INO } from "../../common/limits.js";
import type { Access } from "./access.js";
import type { Checker } from "./checker.js";
import type { SimCluster } from "./cluster.js";
import type { Random } from "./random.js";

/** Names that actors fight for, in each round. */
const NAMES = 4;
/** How often a fighter begins a new round. */
const NEW_ROUND = 0.15;
/** How long a file is open that was just made, at most, ms: at times longer than a mount keeps it to itself. */
const OPEN_MS = 800;
/** What is written to some of them, bytes. */
const BYTES = 100;

/** One directory, in which each name is made exclusively. */
interface Round {
  readonly dir: number;
  /** Name → who has it for certain; or undefined: somebody may, nobody knows who. */
  readonly owners: Map<string, string | undefined>;
}

/** What actors fight for: names of which each has one winner. He has won when a file that he has made is closed, and not before. */
export class Arena {
  readonly #cluster: SimCluster;
  readonly #checker: Checker;
  readonly #random: Random;
  #round: Round | undefined;
  #rounds = 0;

  constructor(cluster: SimCluster, checker: Checker, random: Random) {
    this.#cluster = cluster;
    this.#checker = checker;
    this.#random = random;
  }

  /** Edits are lost: whoever won something of late may not have it any more. */
  rollBack(): void {
    this.#round = undefined;
  }

  /** Makes a name exclusively, or gives up one that was won. */
  async fight(who: string, access: Access): Promise<void> {
    if (this.#round === undefined || this.#random.chance(NEW_ROUND)) {
      const dir = await access.mkdir(ROOT_INO, `arena${this.#rounds++}`);
      this.#round = { dir, owners: new Map() };
    }
    const { dir, owners } = this.#round;
    const name = `prize${this.#random.int(1, NAMES)}`;
    const isKnown = !owners.has(name) || owners.get(name) !== undefined;
    if (!isKnown) return;
    try {
      if (owners.get(name) === who) await this.#giveUp(who, access, dir, name, owners);
      else await this.#make(who, access, dir, name, owners);
    } catch (err) {
      if (codeOf(err) === "EEXIST") return;
      owners.set(name, undefined);
      throw err;
    }
  }

  async #make(who: string, access: Access, dir: number, name: string, owners: Round["owners"]): Promise<void> {
    const { open } = await access.create(dir, name);
    if (open !== undefined) {
      try {
        // Bytes that only datanodes have would be lost with the power of all, and missing ever after.
        if (this.#cluster.inlineBytes >= BYTES && this.#random.chance(0.5)) await open.write(0, Buffer.alloc(BYTES, 1));
        await this.#cluster.time.sleep(this.#random.next() * OPEN_MS);
      } finally {
        await open.close();
      }
    }
    const owner = owners.get(name);
    this.#checker.check(owner === undefined, `${name} in ${dir} belongs to ${owner}, and ${who} has made it too`);
    owners.set(name, who);
    this.#checker.tell(`${who}: won ${name} in ${dir}`);
  }

  async #giveUp(who: string, access: Access, dir: number, name: string, owners: Round["owners"]): Promise<void> {
    owners.set(name, undefined);
    await access.unlink(dir, name);
    if (owners.get(name) === undefined) owners.delete(name);
    this.#checker.tell(`${who}: gave up ${name} in ${dir}`);
  }
}
