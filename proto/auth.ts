import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

/** How far the clocks of two machines may be apart, and how long a nonce is remembered, ms. */
const WINDOW_MS = 5 * 60_000;
/** Nonces remembered at most; beyond that the oldest go (and a replay within the window would be possible). */
const MAX_NONCES = 100_000;

function sign(secret: string, stamp: string, nonce: string): Buffer {
  return createHmac("sha256", secret).update(`cairn link ${stamp} ${nonce}`).digest();
}

/**
 * Proof, in the upgrade request of every link, that the connecting side knows the cluster secret:
 * `Authorization: Cairn <ms since 1970>.<nonce>.<HMAC-SHA256>`. A proof is good once and for five minutes.
 */
export class LinkAuth {
  readonly #secret: string | undefined;
  readonly #seen = new Map<string, number>();

  /** @param secret undefined: no proof is asked for or given (loopback only; the daemons see to that) */
  constructor(secret?: string) {
    this.#secret = secret;
  }

  /** Headers for the request of a link. */
  headers(): Record<string, string> {
    if (this.#secret === undefined) return {};
    const stamp = String(Date.now());
    const nonce = randomBytes(16).toString("base64url");
    return { authorization: `Cairn ${stamp}.${nonce}.${sign(this.#secret, stamp, nonce).toString("base64url")}` };
  }

  /** Undefined when the header of a request proves knowledge of the secret, else what is wrong with it. */
  refusal(header: string | undefined): string | undefined {
    if (this.#secret === undefined) return undefined;
    const match = /^Cairn (\d{1,15})\.([\w-]{22})\.([\w-]{43})$/.exec(header ?? "");
    if (match === null) return "the cluster secret is required";
    const [, stamp, nonce, proof] = match as unknown as [string, string, string, string];
    const given = Buffer.from(proof, "base64url");
    const wanted = sign(this.#secret, stamp, nonce);
    if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return "wrong cluster secret";
    const now = Date.now();
    if (Math.abs(now - Number(stamp)) > WINDOW_MS) return "the proof is too old: the machines' clocks differ";
    for (const [old, at] of this.#seen) {
      if (now - at <= 2 * WINDOW_MS && this.#seen.size < MAX_NONCES) break;
      this.#seen.delete(old);
    }
    if (this.#seen.has(nonce)) return "the proof was used before";
    this.#seen.set(nonce, now);
    return undefined;
  }
}
