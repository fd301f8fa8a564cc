import { flagOf } from "../common/settings.js";
import { mountSettings } from "../fuse/settings.js";
import { UsageError } from "./errors.js";

/** Words of fstab that are meant for mount(8) and init systems, and those that ask for no more than is done anyway. */
const OTHERS = new Set(
  (
    "defaults auto noauto user nouser users nousers owner noowner group nogroup nofail _netdev async " + "relatime"
  ).split(" "),
);
/** Words of mount(8) for settings that have other names, and their values. */
const WORDS: Record<string, [setting: string, value: boolean]> = {
  ro: ["readOnly", true],
  rw: ["readOnly", false],
  suid: ["suid", true],
  nosuid: ["suid", false],
  dev: ["dev", true],
  nodev: ["dev", false],
  exec: ["exec", true],
  noexec: ["exec", false],
  atime: ["noatime", false],
  diratime: ["nodiratime", false],
};

/**
 * Reads the options of mount(8) (`ro,uid=1000,cache-ms=0,_netdev`): its own words, and every setting of the mount by the name of its
 * flag, with - or _ between words. What is meant for others is passed over. UsageError for what nobody knows.
 */
export function parseMountOptions(text: string): Record<string, unknown> {
  const settings: Record<string, unknown> = {};
  for (const option of text.split(",").filter((word) => word !== "")) {
    const [word = "", value] = split(option);
    if (OTHERS.has(word) || word.startsWith("x-") || word === "comment") continue;
    const known = value === undefined ? WORDS[word] : undefined;
    if (known) {
      settings[known[0]] = known[1];
      continue;
    }
    const flag = `--${word.replaceAll("_", "-")}`;
    const key = Object.keys(mountSettings).find((name) => name !== "mountpoint" && flagOf(name) === flag);
    if (key === undefined) throw new UsageError(`unknown mount option "${word}"`);
    settings[key] = value ?? true;
  }
  return settings;
}

function split(option: string): [word: string, value: string | undefined] {
  const at = option.indexOf("=");
  return at < 0 ? [option, undefined] : [option.slice(0, at), option.slice(at + 1)];
}
