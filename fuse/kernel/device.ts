import { spawn } from "node:child_process";
import { closeSync, constants, openSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { CairnError, codeOf, messageOf, wrap } from "../../common/errors.js";
import { MAX_REQUEST } from "./abi.js";

const DEVICE = "/dev/fuse";
/** How long mount(8) may take, ms. */
const MOUNT_MS = 10_000;
/** Errnos with which reading ends when the mount has gone. */
const ENDED = new Set(["ENODEV", "ECONNABORTED", "ENOENT"]);

/** Node's handle for a file descriptor that the event loop polls. */
interface PolledHandle {
  /** 0, or a negative errno. */
  open(fd: number): number;
}

/** Takes requests as they come. */
export interface RequestSink {
  /** A request, which is the sink's until `next` is asked for; false: no more for now. */
  request(bytes: Buffer): boolean;
  /** The buffer for the next request: at least MAX_REQUEST bytes. */
  next(): Buffer;
  /** The mount has gone; err says why unless it was unmounted. */
  closed(err: CairnError | undefined): void;
}

/**
 * An open /dev/fuse. Requests are read by the event loop, as a socket's data is: no thread waits in read(2), so a request costs one
 * wake-up instead of three, and the process can end at any time. (Measured: 60,000 to 75,000 getattrs/s; 8,000 to 25,000 with
 * fs.read.) Replies are written synchronously: the kernel takes them at once.
 */
export class FuseDevice {
  /** The descriptor, for what must be written by another thread. */
  readonly fd: number;
  readonly #handle: PolledHandle;
  #socket: Socket | undefined;
  #open = true;

  /** Opens the device. ENOENT, EACCES; ENOSYS where this Node.js cannot poll it. */
  constructor() {
    this.#handle = makeHandle();
    try {
      this.fd = openSync(DEVICE, constants.O_RDWR | constants.O_NONBLOCK);
    } catch (err) {
      throw wrap(err, `open ${DEVICE}`);
    }
  }

  /** Mounts it: mount(8) inherits the descriptor. EPERM where that is not allowed. */
  async mount(mountpoint: string, source: string, options: readonly string[]): Promise<void> {
    // The descriptor is number 3 in the child.
    const all = ["fd=3", "rootmode=40000", "user_id=0", "group_id=0", ...options].join(",");
    const { code, said } = await runMount(["-i", "-t", "fuse.cairn", "-o", all, "--", source, mountpoint], this.fd);
    if (code !== 0) throw new CairnError("EPERM", `mount on ${mountpoint}: ${said || `mount(8) ended with ${code}`}`);
  }

  /** Reads requests from now on. */
  read(sink: RequestSink): void {
    const handle = this.#handle;
    const error = handle.open(this.fd);
    if (error !== 0) throw new CairnError("EIO", `poll ${DEVICE}: error ${error}`);
    const onread = {
      buffer: () => sink.next(),
      callback: (bytes: number, buffer: Uint8Array) => sink.request(asBuffer(buffer, bytes)),
    };
    const options = { handle, onread, readable: true, writable: false };
    this.#socket = new Socket(options);
    let failure: CairnError | undefined;
    this.#socket.on("error", (err) => {
      if (!ENDED.has(codeOf(err))) failure = wrap(err, `read ${DEVICE}`);
    });
    this.#socket.on("close", () => {
      this.#open = false;
      sink.closed(failure);
    });
  }

  /** Goes on reading after the sink wanted no more. */
  resume(): void {
    this.#socket?.resume();
  }

  /** Writes a reply or a notification. False: the kernel no longer knows what it is about, or the mount has gone. */
  write(message: Buffer): boolean {
    if (!this.#open) return false;
    try {
      writeSync(this.fd, message);
      return true;
    } catch (err) {
      if (ENDED.has(codeOf(err))) return false;
      throw wrap(err, `write ${message.length} bytes to ${DEVICE}`);
    }
  }

  /** Gives the device up: whatever is mounted of it is dead (ENOTCONN). */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    if (this.#socket) this.#socket.destroy();
    else closeSync(this.fd);
  }
}

function makeHandle(): PolledHandle {
  try {
    // The one way to have the event loop poll a descriptor that is neither socket, pipe nor terminal.
    const { binding } = process as unknown as { binding(name: string): unknown };
    const { Pipe, constants: kinds } = binding.call(process, "pipe_wrap") as {
      Pipe: new (kind: number) => PolledHandle;
      constants: { SOCKET: number };
    };
    return new Pipe(kinds.SOCKET);
  } catch (err) {
    throw new CairnError("ENOSYS", `poll ${DEVICE} with Node.js ${process.version}: ${messageOf(err)}`);
  }
}

function asBuffer({ buffer, byteOffset }: Uint8Array, length: number): Buffer {
  return Buffer.from(buffer, byteOffset, length);
}

function runMount(args: string[], fd: number): Promise<{ code: number | null; said: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn("mount", args, {
      stdio: ["ignore", "ignore", "pipe", fd],
      env: { ...process.env, LC_ALL: "C" },
      timeout: MOUNT_MS,
      killSignal: "SIGKILL",
    });
    let said = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      if (said.length < MAX_REQUEST) said += chunk.toString();
    });
    child.on("error", (err) => reject(wrap(err, "run mount(8)")));
    child.on("close", (code) => resolve({ code, said: said.trim() }));
  });
}
