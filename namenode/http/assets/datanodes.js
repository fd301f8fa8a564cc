// The table of datanodes: the worst first, a bounded number of rows, rows kept and changed in place.
import { bytes, count, duration, number, percent } from "./format.js";

/** Rows shown at first, and added by each "Show more". */
const PAGE = 100;
/** Below this many datanodes there is nothing to filter. */
const FILTER_FROM = 8;
const ORDER = { dead: 0, suspect: 1, live: 2 };
const STATE_TEXT = { dead: "Dead", suspect: "Suspect", live: "Live" };

const $ = (id) => document.getElementById(id);
const byWorstFirst = (a, b) => (ORDER[a.state] ?? 0) - (ORDER[b.state] ?? 0) || a.id - b.id;

/** id → the row's elements and what they show */
const rows = new Map();
let sorted = [];
let limit = PAGE;
let clockNow = () => 0;

/**
 * Shows the datanodes of a status.
 * @param {object[]} datanodes
 * @param {() => number} now the namenode's clock, ms
 */
export function showDatanodes(datanodes, now) {
  clockNow = now;
  sorted = [...datanodes].sort(byWorstFirst);
  const none = sorted.length === 0;
  $("nodes-empty").hidden = !none;
  $("nodes-table").hidden = none;
  if (none) $("nodes-command").textContent = `cairn datanode --namenode ${location.origin} --data-dir /var/lib/cairn`;
  $("nodes-filter-box").hidden = sorted.length < FILTER_FROM;
  $("nodes-counts").textContent = none ? "" : counts(sorted);
  render();
}

/** Brings "… ago" up to date; called every second. */
export function tickDatanodes() {
  for (const row of rows.values()) setText(row.heartbeat, ago(row.lastHeartbeatMs));
}

function counts(datanodes) {
  const parts = Object.keys(STATE_TEXT).map((state) => [datanodes.filter((d) => d.state === state).length, state]);
  return parts
    .reverse()
    .filter(([n]) => n > 0)
    .map(([n, state]) => `${number(n)} ${state}`)
    .join(" · ");
}

function render() {
  const words = $("nodes-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = sorted.filter((d) => {
    const text = `${d.address} ${d.rack} ${d.state} ${d.service} ${d.id}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const shown = matches.slice(0, limit);
  const wanted = new Set(shown.map((d) => d.id));
  for (const [id, row] of rows) {
    if (wanted.has(id)) continue;
    row.tr.remove();
    rows.delete(id);
  }
  const body = $("nodes-body");
  let next = body.firstElementChild;
  for (const datanode of shown) {
    let row = rows.get(datanode.id);
    if (row === undefined) {
      row = makeRow();
      rows.set(datanode.id, row);
    }
    fill(row, datanode);
    if (row.tr === next) next = next.nextElementSibling;
    else body.insertBefore(row.tr, next);
  }
  const all = matches.length === shown.length && shown.length > 0;
  $("nodes-more").hidden = all || sorted.length === 0;
  $("nodes-more-button").hidden = matches.length === shown.length;
  const text =
    matches.length === 0
      ? "No datanode matches."
      : `${number(shown.length)} of ${count(matches.length, "datanode")} shown.`;
  setText($("nodes-more-text"), text);
}

function makeRow() {
  const tr = document.createElement("tr");
  const cell = (tag, className, label) => {
    const td = document.createElement(tag);
    td.className = className;
    if (label) td.dataset.label = label;
    tr.append(td);
    return td;
  };
  const span = (parent, className) => {
    const element = document.createElement("span");
    element.className = className;
    parent.append(element);
    return element;
  };
  const state = span(cell("td", "state"), "badge");
  const address = cell("th", "address");
  address.scope = "row";
  const name = span(address, "name");
  const service = span(address, "service");
  const trouble = span(address, "trouble");
  const rack = cell("td", "rack");
  const heartbeat = cell("td", "num", "Heartbeat");
  const blocks = cell("td", "num", "Blocks");
  const space = cell("td", "wide");
  const bar = span(space, "bar");
  const [used, other] = [document.createElement("i"), document.createElement("i")];
  used.className = "used";
  other.className = "other";
  bar.append(used, other);
  const text = span(space, "bar-text");
  return { tr, state, name, service, trouble, rack, heartbeat, blocks, used, other, text, lastHeartbeatMs: 0 };
}

function fill(row, d) {
  row.lastHeartbeatMs = d.lastHeartbeatMs;
  row.tr.dataset.state = d.state;
  row.state.dataset.state = d.state;
  setText(row.state, STATE_TEXT[d.state] ?? d.state);
  setText(row.name, d.address);
  row.name.title = `datanode ${d.id}, version ${d.version}`;
  setText(row.service, serviceText(d));
  const failed = d.volumes.filter((v) => v.failed);
  setText(row.trouble, failed.map((v) => `Volume ${v.path} failed: ${v.error}`).join("; "));
  setText(row.rack, d.rack);
  setText(row.heartbeat, ago(d.lastHeartbeatMs));
  setText(row.blocks, number(d.blocks));
  fillBar(row.used, row.other, d);
  setText(row.text, `${bytes(d.used)} used, ${bytes(d.free)} free`);
}

/**
 * Sets the segments of a bar: used by blocks, then other data; the rest is free.
 * @param {HTMLElement} used
 * @param {HTMLElement} other
 * @param {{ capacity: number, used: number, free: number }} space bytes
 */
export function fillBar(used, other, space) {
  const share = (n) => `${space.capacity > 0 ? Math.min(100, Math.max(0, (n / space.capacity) * 100)).toFixed(2) : 0}%`;
  used.style.width = share(space.used);
  other.style.width = share(otherBytes(space));
  used.parentElement.title = `${percent(space.used, space.capacity)} used by blocks`;
}

/**
 * Bytes taken by others than CairnFS.
 * @param {{ capacity: number, used: number, free: number }} space
 */
export function otherBytes(space) {
  return Math.max(0, space.capacity - space.used - space.free);
}

/** What is said of a datanode that is not in service, or is about to leave it; nothing of others. */
function serviceText({ service, needed, untilMs }) {
  if (service === "in service") return "";
  const until = untilMs > 0 ? ` until ${new Date(untilMs).toLocaleString()}` : "";
  return `${service}${until}${needed > 0 ? `: ${count(needed, "block")} to copy` : ""}`;
}

function ago(ms) {
  return ms === 0 ? "never" : `${duration(clockNow() - ms)} ago`;
}

/**
 * Changes an element's text only if it is another one: no needless layout, no needless announcement.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

$("nodes-filter").addEventListener("input", () => {
  limit = PAGE;
  render();
});
$("nodes-more-button").addEventListener("click", () => {
  limit += PAGE;
  render();
});
