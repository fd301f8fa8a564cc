import { type Command, Option } from "commander";
import { SaidFailure } from "../errors.js";
import { wholeNumber } from "../options.js";
import { table } from "../table.js";
import { MAX_DATANODES } from "./config.js";
import { DEFAULT_ROOT, Layout } from "./layout.js";

/** `cairn cluster`: a whole cluster on this machine. */
export function define(command: Command): void {
  const root = () => new Option("--root <dir>", "where the cluster keeps everything").default(DEFAULT_ROOT);
  command
    .command("start")
    .description("start what is not running of a cluster on this machine, and mount it")
    .addOption(root())
    .option(
      "--datanodes <n>",
      "how many datanodes (default: 3, or as many as there are)",
      wholeNumber(1, MAX_DATANODES),
    )
    .option("--mount <dir>", "where to mount it (default: mnt in the root)")
    .option("--http-port <port>", "the namenode's port, 0 for a free one (default: 9870)", wholeNumber(0, 65_535))
    .action(start);
  command
    .command("stop")
    .description("unmount and stop a cluster on this machine; its data stays")
    .addOption(root())
    .option("--wipe", "remove its data")
    .action(stop);
  command
    .command("status")
    .description("show which daemons run; exit status 1 unless all do")
    .addOption(root())
    .option("--json", "for programs")
    .action(status);
}

interface RootOption {
  readonly root: string;
}

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

async function start(options: RootOption & { datanodes?: number; mount?: string; httpPort?: number }): Promise<void> {
  const { startCluster } = await import("./start.js");
  const layout = new Layout(options.root);
  const { config, started, binding } = await startCluster(layout, options, say);
  const rootFlag = layout.root === DEFAULT_ROOT ? "" : ` --root ${layout.root}`;
  const what = `a namenode and ${config.datanodePorts.length} datanodes`;
  say(started.length === 0 ? `CairnFS is running already: ${what}.` : `CairnFS is up: ${what}.`);
  say("");
  say(`  Folder       ${config.mount}${binding === undefined ? "" : ` (${binding} binding)`}`);
  say(`  Status page  http://127.0.0.1:${config.httpPort}/`);
  say(`  Try          cp -a /usr/include ${config.mount}/ && npx cairn fs ls -l${rootFlag} /include`);
  say(`  Stop         npx cairn cluster stop${rootFlag}`);
}

async function stop(options: RootOption & { wipe?: boolean }): Promise<void> {
  const { stopCluster } = await import("./stop.js");
  await stopCluster(options.root, options.wipe === true, say);
}

async function status(options: RootOption & { json?: boolean }): Promise<void> {
  const { clusterState } = await import("./status.js");
  const state = await clusterState(new Layout(options.root));
  if (options.json) say(JSON.stringify(state, null, 2));
  else {
    say(
      table(
        ["daemon", "process", "state"],
        state.daemons.map((d) => [d.name, String(d.pid ?? "-"), d.state]),
      ),
    );
    say("");
    say(`Folder       ${state.mount}`);
    say(`Status page  ${state.statusPage}`);
  }
  if (!state.up) throw new SaidFailure("not every daemon runs");
}
