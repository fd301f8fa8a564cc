// The status page: shows what /api/events says, and nothing else. Values go in as text, never as markup.
import { fillBar, otherBytes, setText, showDatanodes, tickDatanodes } from "./datanodes.js";
import { bytes, clock, duration, number, percent } from "./format.js";
import { listen } from "./live.js";

/** Events shown at most. */
const MAX_EVENTS = 50;
/** How often ages are brought up to date, ms. */
const TICK_MS = 1_000;
const FIGURES = [
  "files",
  "directories",
  "blocks",
  "sessions",
  "underReplicated",
  "lastCopy",
  "missing",
  "corrupt",
  "pendingReplications",
  "pendingDeletions",
];

const $ = (id) => document.getElementById(id);

/** The namenode's clock minus ours, ms: ages are right even where ours is wrong. */
let clockOffset = 0;
let startedMs = 0;
const now = () => Date.now() + clockOffset;

function onStatus(status) {
  clockOffset = status.nowMs - Date.now();
  startedMs = status.startedMs;
  setLink("live", "Live");
  document.title = `${status.health.summary} – CairnFS`;
  setText($("cluster"), status.cluster ? `cluster ${status.cluster.slice(0, 8)}` : "");
  $("cluster").title = status.cluster;
  showHealth(status);
  showSpace(status);
  for (const name of FIGURES) showFigure(name, status[name]);
  showFigure("moving", status.evacuating + status.misplaced);
  showFigure("unsynced", status.lastIndex - status.syncedIndex);
  showDatanodes(status.datanodes, now);
  showEvents(status.events);
  setText($("footer"), `CairnFS ${status.version}`);
  tick();
}

function onLost() {
  if ($("link").dataset.state === "lost") return;
  setLink("lost", "Disconnected");
  const seen = startedMs > 0 ? " What you see is as it was then." : "";
  setText($("lost"), `Connection to the namenode lost at ${clock(Date.now(), Date.now())}.${seen} Trying again…`);
}

function setLink(state, text) {
  $("link").dataset.state = state;
  setText($("link-text"), text);
  $("main").dataset.stale = String(state === "lost");
  $("lost").hidden = state !== "lost";
}

let shownDetails = "";
function showHealth({ health, missing, underReplicated }) {
  $("health").dataset.state = health.state;
  setText($("health-summary"), health.summary);
  $("health-hint").hidden = missing + underReplicated === 0;
  const details = health.details.join("\n");
  if (details === shownDetails) return;
  shownDetails = details;
  $("health-details").replaceChildren(...health.details.map(listItem));
}

function listItem(text) {
  const li = document.createElement("li");
  li.textContent = text;
  return li;
}

function showSpace(status) {
  const { capacity, used, free } = status;
  setText($("space-used"), bytes(used));
  setText($("space-of"), capacity > 0 ? `of ${bytes(capacity)} used, ${percent(used, capacity)}` : "no space yet");
  const bar = $("space-bar");
  fillBar(bar.querySelector(".used"), bar.querySelector(".other"), status);
  bar.setAttribute("aria-label", `${percent(used, capacity)} of the capacity is used`);
  setText($("legend-used"), bytes(used));
  setText($("legend-other"), bytes(otherBytes(status)));
  setText($("legend-free"), bytes(free));
}

function showFigure(name, value) {
  const element = $(`n-${name}`);
  setText(element, number(value));
  element.classList.toggle("raised", value > 0);
}

/** The events on the page as JSON, newest first. */
let shownEvents = [];
/** Puts new events on top and leaves the others alone, so that only the new ones are announced. */
function showEvents(events) {
  const wanted = events.slice(0, MAX_EVENTS).map((event) => JSON.stringify(event));
  const known = wanted.indexOf(shownEvents[0]);
  const fresh = known === -1 ? wanted.length : known;
  const list = $("events");
  if (known === -1) list.replaceChildren();
  list.prepend(...events.slice(0, fresh).map(eventItem));
  while (list.children.length > wanted.length) list.lastElementChild.remove();
  shownEvents = wanted;
  $("events-none").hidden = wanted.length > 0;
}

function eventItem({ timeMs, severity, message }) {
  const li = document.createElement("li");
  li.dataset.severity = severity;
  const time = document.createElement("time");
  time.dateTime = new Date(timeMs).toISOString();
  time.textContent = clock(timeMs, now());
  const text = document.createElement("span");
  text.textContent = message;
  li.append(time, text);
  return li;
}

/** What changes with time alone. */
function tick() {
  tickDatanodes();
  if (startedMs > 0) setText($("uptime"), `up for ${duration(now() - startedMs)}`);
}

setInterval(tick, TICK_MS);
listen({ onStatus, onLost });
