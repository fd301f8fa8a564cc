// A program that locks files as it is told: one line in, one line out.
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** How long an answer may take that is not waited for on purpose, ms. */
const ANSWER_MS = 60_000;

const PROGRAM = `
import errno, fcntl, os, signal, struct, sys
KIND = {"sh": fcntl.LOCK_SH, "ex": fcntl.LOCK_EX, "un": fcntl.LOCK_UN}
TYPE = {"sh": fcntl.F_RDLCK, "ex": fcntl.F_WRLCK, "un": fcntl.F_UNLCK}
fds = {}

def record(fd, kind, first, length, command):
    return fcntl.fcntl(fd, command, struct.pack("hhqqi4x", TYPE[kind], 0, int(first), int(length), 0))

def act(word, name, *rest):
    if word == "open":
        fds[name] = os.open(rest[0], os.O_RDONLY if rest[1:] == ("r",) else os.O_RDWR | os.O_CREAT, 0o644)
        return "ok"
    fd = fds[name]
    if word == "close":
        os.close(fd)
    elif word in ("flock", "tryflock"):
        fcntl.flock(fd, KIND[rest[0]] | (fcntl.LOCK_NB if word == "tryflock" else 0))
    elif word in ("lock", "trylock"):
        record(fd, *rest, fcntl.F_SETLKW if word == "lock" else fcntl.F_SETLK)
    elif word == "ofdlock":
        record(fd, *rest, 38)
    elif word == "getlk":
        kind, _, first, length, pid = struct.unpack("hhqqi4x", record(fd, *rest, fcntl.F_GETLK))
        return "free" if kind == fcntl.F_UNLCK else "%s %d %d %d" % ("sh" if kind == fcntl.F_RDLCK else "ex", first, length, pid)
    elif word == "read":
        return os.pread(fd, 1000, 0).decode() or "-"
    elif word == "write":
        os.pwrite(fd, rest[0].encode(), 0)
    elif word == "count":
        for _ in range(int(rest[0])):
            record(fd, "ex", 0, 0, fcntl.F_SETLKW)
            os.pwrite(fd, b"%8d" % (int(os.pread(fd, 8, 0) or b"0") + 1), 0)
            record(fd, "un", 0, 0, fcntl.F_SETLK)
    return "ok"

# Ctrl-C ends what is being done; while nothing is, it says nothing.
busy = False
def interrupted(*_):
    if busy: raise KeyboardInterrupt
signal.signal(signal.SIGINT, interrupted)

print(os.getpid(), flush=True)
while True:
    try:
        line = sys.stdin.readline()
        if not line: break
        busy = True
        answer = act(*line.split())
        busy = False
    except OSError as e:
        busy = False
        answer = "EDEADLK" if e.errno == errno.EDEADLK else errno.errorcode[e.errno] # which has two names
    except KeyboardInterrupt:
        busy = False
        answer = "EINTR"
    print(answer, flush=True)
`;

/** A process that locks. Its answers: "ok", what was asked for, or an errno name. */
export class Locker {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>, pid: number) {
    this.#child = child;
    this.#lines = lines;
    this.pid = pid;
  }

  static async start(): Promise<Locker> {
    const child = spawn("python3", ["-c", PROGRAM], { stdio: ["pipe", "pipe", "inherit"] });
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    const { value } = await lines.next();
    return new Locker(child, lines, Number(value));
  }

  /** Tells it to do something; resolves to its answer, however long that takes. One at a time. */
  async ask(command: string): Promise<string> {
    this.#child.stdin!.write(`${command}\n`);
    const { value, done } = await this.#lines.next();
    return done ? "ended" : (value as string);
  }

  /** As ask(), for what must be answered soon. */
  async now(command: string): Promise<string> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<string>((resolve) => {
      timer = setTimeout(() => resolve(`no answer in ${ANSWER_MS} ms`), ANSWER_MS);
    });
    return Promise.race([this.ask(command), late]).finally(() => clearTimeout(timer));
  }

  /** Ctrl-C. */
  interrupt(): void {
    this.#child.kill("SIGINT");
  }

  /** Ends it, whatever it does. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }
}
