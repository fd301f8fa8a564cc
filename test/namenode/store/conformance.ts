import { expect } from "chai";
import fc from "fast-check";
import { InvariantError } from "../../../common/errors.js";
import { type Key, type KeyValue, MAX_KEY, type RangeOptions } from "../../../namenode/store/kv.js";

/** A store under test, with a way to disturb it in a manner that must not show (a flush, for example). */
export interface Subject {
  kv: KeyValue;
  disturb?: () => unknown;
  /** Resolves when what disturb() began is over. */
  settle?: () => Promise<unknown>;
  close?: () => Promise<void>;
}

const ALL: RangeOptions = { gte: "", lt: "\xff".repeat(8) };
const bytes = (text: string) => Buffer.from(text, "latin1");
const text = (value: Uint8Array | undefined) => value && Buffer.from(value).toString("latin1");
const keysOf = (kv: KeyValue, options: RangeOptions) => [...kv.range(options)].map(([key]) => key);

function clear(kv: KeyValue): void {
  for (const [key] of kv.range(ALL)) kv.delete(key);
}

// Keys that share prefixes, with the bytes at the ends of the order and those that UTF-8 would make two of.
const key = fc
  .array(fc.constantFrom(0, 1, 0x61, 0x62, 0x80, 0xff), { minLength: 1, maxLength: 3 })
  .map((codes) => String.fromCharCode(...codes));
const bound = fc.oneof(key, fc.constant(""));

type Step =
  | { do: "put"; key: Key; value: number }
  | { do: "delete" | "get"; key: Key }
  | { do: "open"; gte: Key; lt: Key; reverse: boolean }
  | { do: "next"; which: number; times: number }
  | { do: "disturb" | "settle" };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("put" as const), key, value: fc.nat(255) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("delete" as const, "get" as const), key }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("open" as const), gte: bound, lt: bound, reverse: fc.boolean() }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("next" as const),
      which: fc.nat(9),
      times: fc.integer({ min: 1, max: 12 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("disturb" as const, "settle" as const) }) },
);

/** A range over the model: looks for the next key beyond the last one in what is there now. */
class ModelRange {
  readonly #model: Map<Key, number>;
  readonly #range: { gte: Key; lt: Key; reverse: boolean };
  #last: Key | undefined;
  #done = false;

  constructor(model: Map<Key, number>, range: { gte: Key; lt: Key; reverse: boolean }) {
    this.#model = model;
    this.#range = range;
  }

  next(): [Key, number] | undefined {
    if (this.#done) return undefined;
    const { gte, lt, reverse } = this.#range;
    const last = this.#last;
    const ahead = [...this.#model.keys()]
      .filter((k) => k >= gte && k < lt && (last === undefined || (reverse ? k < last : k > last)))
      .sort();
    const found = reverse ? ahead.at(-1) : ahead[0];
    this.#last = found;
    this.#done = found === undefined;
    return found === undefined ? undefined : [found, this.#model.get(found)!];
  }
}

/** The tests that every KeyValue passes. `make` is called once; the tests share what it makes. */
export function describeKeyValue(name: string, make: () => Promise<Subject>): void {
  describe(`KeyValue: ${name}`, () => {
    let subject: Subject;
    let kv: KeyValue;
    before(async () => {
      subject = await make();
      kv = subject.kv;
    });
    beforeEach(() => clear(kv));
    after(() => subject.close?.());

    it("returns what was put, the newest value, and nothing once it is deleted", async () => {
      expect(kv.get("k")).equal(undefined);
      kv.put("k", bytes("one"));
      expect(text(kv.get("k"))).equal("one");
      subject.disturb?.();
      kv.put("k", bytes("two"));
      expect(text(kv.get("k"))).equal("two");
      await subject.settle?.();
      expect(text(kv.get("k"))).equal("two");
      kv.delete("k");
      expect(kv.get("k")).equal(undefined);
      subject.disturb?.();
      await subject.settle?.();
      expect(kv.get("k")).equal(undefined);
      kv.delete("never there");
    });

    it("keeps every byte of keys and values, empty values included", async () => {
      const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
      const long = "\xfe".repeat(MAX_KEY);
      kv.put(all.toString("latin1"), all);
      kv.put("empty", new Uint8Array(0));
      kv.put(long, bytes("long"));
      kv.put("large", Buffer.alloc(300_000, 7));
      for (let round = 0; round < 2; round++) {
        expect(Buffer.from(kv.get(all.toString("latin1"))!).equals(all)).equal(true);
        expect(kv.get("empty")).length(0);
        expect(text(kv.get(long))).equal("long");
        expect(Buffer.from(kv.get("large")!).equals(Buffer.alloc(300_000, 7))).equal(true);
        subject.disturb?.();
        await subject.settle?.();
      }
    });

    it("leaves a value that was read as it is", async () => {
      kv.put("a", bytes("first"));
      subject.disturb?.();
      await subject.settle?.();
      const held = kv.get("a");
      const [[, ranged]] = [...kv.range(ALL)] as [[Key, Uint8Array]];
      kv.put("a", bytes("other"));
      for (let i = 0; i < 100; i++) kv.put(`b${i}`, Buffer.alloc(100, i));
      subject.disturb?.();
      await subject.settle?.();
      for (let i = 0; i < 100; i++) kv.get(`b${i}`);
      expect(text(held)).equal("first");
      expect(text(ranged)).equal("first");
    });

    it("refuses keys that are none", () => {
      for (const bad of ["", "x".repeat(MAX_KEY + 1), "\u0100"]) {
        expect(() => kv.put(bad, bytes(""))).throw(InvariantError);
      }
    });

    it("iterates in the order of bytes, both ways, within its bounds", async () => {
      const keys = ["\x00", "a", "a\x00", "ab", "a\xff", "b", "\x80", "\xff", "\xff\xff"];
      for (const k of [...keys].reverse()) kv.put(k, bytes(k));
      for (let round = 0; round < 2; round++) {
        expect(keysOf(kv, ALL)).eql(keys);
        expect(keysOf(kv, { ...ALL, reverse: true })).eql([...keys].reverse());
        expect(keysOf(kv, { gte: "a", lt: "b" })).eql(["a", "a\x00", "ab", "a\xff"]);
        expect(keysOf(kv, { gte: "a", lt: "b", reverse: true })).eql(["a\xff", "ab", "a\x00", "a"]);
        expect(keysOf(kv, { gte: "aa", lt: "aa" })).eql([]);
        expect(keysOf(kv, { gte: "b", lt: "a" })).eql([]);
        subject.disturb?.();
        await subject.settle?.();
      }
    });

    it("iterates over many entries, some of them deleted while it does", async () => {
      const name = (i: number) => `n${String(i).padStart(6, "0")}`;
      for (let i = 0; i < 3000; i++) kv.put(name(i), Buffer.alloc(i % 500, i));
      subject.disturb?.();
      const seen: Key[] = [];
      for (const [k, value] of kv.range({ gte: "n", lt: "o" })) {
        seen.push(k);
        expect(value.length).equal((seen.length - 1) % 500);
        if (seen.length % 1000 === 0) {
          subject.disturb?.();
          await subject.settle?.();
        }
        kv.delete(k);
      }
      expect(seen).eql(Array.from({ length: 3000 }, (_, i) => name(i)));
      expect(keysOf(kv, ALL)).eql([]);
    });

    it("does as a sorted map does, whatever is changed while ranges are open", async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 150, size: "max" }), async (steps) => {
          clear(kv);
          const model = new Map<Key, number>();
          const ranges: { real: IterableIterator<[Key, Uint8Array]>; model: ModelRange }[] = [];
          for (const s of steps) {
            if (s.do === "put") {
              kv.put(s.key, Buffer.of(s.value));
              model.set(s.key, s.value);
            } else if (s.do === "delete") {
              kv.delete(s.key);
              model.delete(s.key);
            } else if (s.do === "get") {
              expect(kv.get(s.key)?.[0]).equal(model.get(s.key));
            } else if (s.do === "open") {
              ranges.push({ real: kv.range(s), model: new ModelRange(model, s) });
            } else if (s.do === "next") {
              const range = ranges[s.which % Math.max(1, ranges.length)];
              for (let i = 0; range && i < s.times; i++) {
                const { done, value } = range.real.next();
                expect(done ? undefined : [value[0], value[1][0]]).eql(range.model.next());
              }
            } else if (s.do === "disturb") {
              subject.disturb?.();
            } else {
              await subject.settle?.();
            }
          }
          const left = [...kv.range(ALL)].map(([k, v]) => [k, v[0]]);
          expect(left).eql([...model].sort(([a], [b]) => (a < b ? -1 : 1)));
        }),
        { numRuns: 300 },
      );
    });
  });
}
