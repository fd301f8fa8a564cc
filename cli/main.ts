import { Command, CommanderError } from "commander";
import { complain, UsageError } from "./errors.js";
import { version } from "./version.js";

/** A top-level command: its line in the help, and the module that has the rest, loaded only when it is called. */
interface Lazy {
  readonly summary: string;
  readonly load: () => Promise<{ define: (command: Command) => void }>;
}

const COMMANDS: Record<string, Lazy> = {
  cluster: {
    summary: "start, stop and look at a cluster on this machine",
    load: () => import("./cluster/command.js"),
  },
  fs: { summary: "files and folders: ls, put, get, …", load: () => import("./fs/command.js") },
  snapshot: { summary: "keep folders readable as they were", load: () => import("./snapshot.js") },
  admin: { summary: "the health of a cluster: report, fsck, backup, …", load: () => import("./admin/command.js") },
  namenode: { summary: "run a namenode (in the foreground)", load: () => import("./namenode.js") },
  datanode: { summary: "run a datanode (in the foreground)", load: () => import("./datanode.js") },
  mount: { summary: "mount a cluster on a folder (in the foreground)", load: () => import("./mount.js") },
  umount: { summary: "unmount a folder, also one whose mount has died", load: () => import("./umount.js") },
};

/** Exit status of a command line that could not be understood. */
const EXIT_USAGE = 2;

/** Runs the command line. Sets the exit status: 0, 1 when it failed, 2 when the command line or a setting is wrong. */
export async function main(argv: readonly string[]): Promise<void> {
  // A reader that went away (`cairn fs cat … | head`) is no error: end as other programs do.
  process.stdout.on("error", (err: NodeJS.ErrnoException) => {
    if (err.code !== "EPIPE") complain(err, false);
    process.exit(err.code === "EPIPE" ? 0 : 1);
  });
  let verbose = false;
  const program = new Command("cairn")
    .description("CairnFS: a distributed file system, shown as one folder.")
    .version(version(), "-V, --version");
  for (const [name, { summary }] of Object.entries(COMMANDS)) program.command(name).description(summary);
  const wanted = argv[2] === "help" ? argv[3] : argv[2];
  const chosen = program.commands.find((c) => c.name() === wanted);
  try {
    if (chosen !== undefined) (await COMMANDS[chosen.name()]?.load())?.define(chosen);
    everyCommand(program, (command) => {
      command.exitOverride().configureOutput({ outputError: () => {} });
      if (command.commands.length > 0) return;
      command.option("--verbose", "show where an error came from");
      command.on("option:verbose", () => {
        verbose = true;
      });
    });
    await program.parseAsync(argv as string[]);
  } catch (err) {
    if (err instanceof CommanderError) {
      if (err.exitCode === 0) return; // --help, --version
      process.exitCode = EXIT_USAGE;
      if (err.code !== "commander.help") complain(UsageError.of(err), verbose);
    } else {
      process.exitCode = err instanceof UsageError ? EXIT_USAGE : 1;
      complain(err, verbose);
    }
  }
}

/** Calls fn for a command and all below it. */
function everyCommand(command: Command, fn: (command: Command) => void): void {
  fn(command);
  for (const sub of command.commands) everyCommand(sub, fn);
}
