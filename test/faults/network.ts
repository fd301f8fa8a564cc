import { sh } from "../support/run.js";

/** The network of the test's own addresses: machine n is SUBNET.n, the test itself SUBNET.254. */
const SUBNET = "10.77.0";

/** The address of a machine. */
export const addressOf = (machine: number): string => `${SUBNET}.${machine}`;

/** The network namespace of a machine, for nsenter. */
export const namespaceOf = (machine: number): string => `/run/netns/machine-${machine}`;

/**
 * Machines on a switch: network namespaces with a pair of interfaces each, the outer ends on a bridge. A second bridge, which
 * leads nowhere, is where machines go that are cut off: packets are lost without anybody being told. To be made in the sandbox
 * (sandbox.ts), with which everything goes away.
 */
export class Network {
  readonly #machines: number;

  constructor(machines: number) {
    this.#machines = machines;
  }

  async make(): Promise<void> {
    const lines = [
      "mkdir -p /run/netns; mount -t tmpfs netns /run/netns", // the sandbox's own names
      "ip link set lo up",
      "ip link add together type bridge",
      `ip addr add ${addressOf(254)}/24 dev together`,
      "ip link set together up",
      "ip link add apart type bridge",
      "ip link set apart up",
    ];
    for (let n = 1; n <= this.#machines; n++) {
      const inside = `ip -n machine-${n}`;
      lines.push(
        `ip netns add machine-${n}`,
        `ip link add port-${n} type veth peer name eth0 netns machine-${n}`,
        `ip link set port-${n} master together up`,
        `${inside} link set lo up`,
        `${inside} addr add ${addressOf(n)}/24 dev eth0`,
        `${inside} link set eth0 up`,
      );
    }
    await sh(lines.join("\n"));
  }

  /** Takes the machines away. What still runs on them keeps its own. */
  async destroy(): Promise<void> {
    for (let n = 1; n <= this.#machines; n++) await sh(`ip link del port-${n}; ip netns del machine-${n}`);
    await sh("ip link del together; ip link del apart");
  }

  /** Cuts machines off from the others; they still reach each other. */
  async cut(...machines: number[]): Promise<void> {
    for (const n of machines) await sh(`ip link set port-${n} master apart`);
  }

  /** Limits what a machine sends and receives, e.g. to "5mbit". */
  async slow(machine: number, rate: string): Promise<void> {
    const tbf = `root tbf rate ${rate} burst 32kbit latency 400ms`;
    await sh(`tc qdisc replace dev port-${machine} ${tbf}; tc -n machine-${machine} qdisc replace dev eth0 ${tbf}`);
  }

  /** Everybody reaches everybody, at full speed. */
  async heal(): Promise<void> {
    for (let n = 1; n <= this.#machines; n++) {
      await sh(
        `ip link set port-${n} master together; ` +
          `tc qdisc del dev port-${n} root 2>/dev/null || true; tc -n machine-${n} qdisc del dev eth0 root 2>/dev/null || true`,
      );
    }
  }
}
