import type { Life } from "./time.js";

/** A machine: what its processes lose when the power goes, and what they do not. */
export class Machine {
  readonly name: string;
  /** Milliseconds that its clock is set wrong. */
  wallOffset = 0;
  on = true;
  /** When the program on it was last stopped, or went on after that, ms of virtual time. */
  lastStop = Number.NEGATIVE_INFINITY;

  constructor(name: string) {
    this.name = name;
  }
}

/** A process on a machine: killed, it does nothing any more; stopped, it goes on later. */
export class Process implements Life {
  readonly machine: Machine;
  readonly name: string;
  #state: "running" | "stopped" | "dead" = "running";
  #waiting: (() => void)[] = [];
  readonly #onDeath: ((powerLoss: boolean) => void)[] = [];

  constructor(machine: Machine, name: string) {
    this.machine = machine;
    this.name = name;
  }

  get alive(): boolean {
    return this.#state !== "dead";
  }

  get wallOffset(): number {
    return this.machine.wallOffset;
  }

  get isStopped(): boolean {
    return this.#state === "stopped";
  }

  run(fn: () => void): void {
    if (this.#state === "running") fn();
    else if (this.#state === "stopped") this.#waiting.push(fn);
  }

  /** SIGKILL, or with powerLoss what its machine does to it. */
  kill(powerLoss = false): void {
    if (!this.alive) return;
    this.#state = "dead";
    this.#waiting = [];
    for (const listener of this.#onDeath.splice(0)) listener(powerLoss);
  }

  /** SIGSTOP. */
  stop(): void {
    if (this.alive) this.#state = "stopped";
  }

  /** SIGCONT: what was to happen meanwhile happens now. */
  cont(): void {
    if (this.#state !== "stopped") return;
    this.#state = "running";
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const fn of waiting) this.run(fn);
  }

  /** Called when it dies. */
  onDeath(listener: (powerLoss: boolean) => void): void {
    this.#onDeath.push(listener);
  }
}
