// Keeps the page fresh: what happens is shown at once by the stream of events, the rest by reading
// the page anew. When neither works, it says since when what it shows is old.
"use strict";

(() => {
const BEATS = 60, DAYS = 90, WIDTH = 360;
const SVG = "http://www.w3.org/2000/svg";
const WORDS = { u: "up", d: "degraded", x: "down", q: "unknown" };
const LETTERS = { up: "u", degraded: "d", down: "x", unknown: "q" };
const PILLARS = { u: [5, 14], d: [3, 18], x: [2, 20], q: [9, 6], n: [11, 2] };
const find = (what, at = document) => at.querySelector(what);
const all = (what, at = document) => [...at.querySelectorAll(what)];

// Times.
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const short = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeZone: "UTC" });

// How far the clock of the daemon is ahead of the one here.
let ahead = new Date(document.body.dataset.now) - Date.now() || 0;

function span(seconds) {
  seconds = Math.max(0, Math.floor(seconds));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

function millis(ms) {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function localize(root) {
  for (const time of all("time.clock[datetime]", root)) {
    const at = new Date(time.dateTime);
    if (isNaN(at)) continue;
    if (time.classList.contains("clock")) time.textContent = short.format(at);
  }
}

function age() {
  const now = Date.now() + ahead;
  for (const time of all("[data-live] time[datetime]:not(.clock)")) {
    const said = span(Math.abs(now - new Date(time.dateTime)) / 1000);
    if (time.textContent !== said) time.textContent = said;
  }
}

// Strips.
function beatsOf(strip) {
  let at = 0;
  const times = strip.dataset.t ? strip.dataset.t.split(",").map((gap) => (at += Number(gap))) : [];
  const latencies = strip.dataset.l ? strip.dataset.l.split(",").map(Number) : [];
  return [...strip.dataset.s].map((s, n) => ({ s, ms: latencies[n], at: times[n] }));
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function pillars(letter, from, to) {
  const [top, tall] = PILLARS[letter];
  let d = "";
  for (let place = from; place < to; place++) d += `M${place * 6 + 3} ${top}v${tall}`;
  return d;
}

function drawBeats(strip, beats) {
  const row = element("g", { class: "row" });
  const empty = BEATS - beats.length;
  if (empty > 0) row.append(element("path", { class: "n", d: pillars("n", 0, empty) }));
  for (let from = 0; from < beats.length;) {
    const letter = beats[from].s;
    let to = from + 1;
    // The newest is a path of its own, which comes in.
    while (to < beats.length - 1 && beats[to].s === letter) to++;
    const name = to === beats.length ? `${letter} newest` : letter;
    row.append(element("path", { class: name, d: pillars(letter, empty + from, empty + to) }));
    from = to;
  }
  // What is new in the page slides in by itself; asking for a layout in between would cost one a strip.
  strip.classList.add("fresh");
  strip.replaceChildren(row);
}

function drawSpark(row, beats) {
  const known = beats.filter((beat) => beat.s === "u" || beat.s === "d").map((beat) => beat.ms);
  const spark = find(".spark", row);
  if (!spark || known.length < 2) return;
  const max = Math.max(...known, 0.001), step = 118 / (known.length - 1);
  const point = (ms, n) => `${n ? "L" : "M"}${(1 + step * n).toFixed(0)} ${(29 - 28 * ms / max).toFixed(0)}`;
  const line = known.map(point).join("");
  find(".line", spark).setAttribute("d", line);
  find(".area", spark).setAttribute("d", `${line}V30H1z`);
  spark.setAttribute("aria-label", `Latency of the latest results: ${millis(Math.min(...known))} to ${millis(max)}`);
}

function beat(row, verdict) {
  const strip = find(".beats", row);
  const at = Math.floor(new Date(verdict.at) / 1000);
  if (strip) {
    let beats = beatsOf(strip);
    if (beats.length && beats.at(-1).at >= at) return;
    beats = [...beats, { s: LETTERS[verdict.status], ms: verdict.latency_ms, at }].slice(-BEATS);
    strip.dataset.s = beats.map((beat) => beat.s).join("");
    strip.dataset.l = beats.map((beat) => Number(beat.ms.toFixed(beat.ms < 10 ? 1 : 0))).join(",");
    strip.dataset.t = beats.map((beat, n) => beat.at - (n ? beats[n - 1].at : 0)).join(",");
    drawBeats(strip, beats);
    drawSpark(row, beats);
  }
  const figure = find(".figure", row);
  if (figure) figure.textContent = millis(verdict.latency_ms);
}

// The card beside a strip.
const tip = document.createElement("div");
tip.className = "tip";
tip.id = "tip";
tip.hidden = true;
document.body.append(tip);
let tipped = null, pinned = false;

function dayAt(strip, place) {
  const date = new Date(`${strip.dataset.from}T00:00:00Z`);
  date.setUTCDate(date.getUTCDate() + place);
  const events = strip.dataset.d ? strip.dataset.d.split(",") : [];
  const which = events.findIndex((event) => event.startsWith(`${place}:`));
  const lines = [];
  let link = null;
  if (which >= 0) {
    const [, up, degraded, down, unknown, maintenance] = events[which].split(":").map(Number);
    const known = up + degraded + down;
    const share = Math.floor((up + degraded) / known * 10000) / 100;
    lines.push(known ? `${share === 100 ? 100 : share.toFixed(2)}% up` : "not known to be up or down");
    for (const [word, seconds] of [["down", down], ["degraded", degraded], ["unknown", unknown], ["in maintenance", maintenance]]) {
      if (seconds) lines.push(`${word} for ${span(seconds)}`);
    }
    link = all("a", strip)[which]?.getAttribute("href");
  } else {
    lines.push(strip.dataset.k[place] === "1" ? "100% up" : "not watched");
  }
  return { head: day.format(date), lines, link };
}

const told = new Map();
async function reasons(name, at) {
  const known = told.get(name);
  if (!known || Date.now() - known.read > 15000) {
    const answer = fetch(`/api/v1/checks/${encodeURIComponent(name)}/results?limit=${BEATS}`);
    const items = answer.then((answer) => (answer.ok ? answer.json() : { items: [] })).catch(() => ({ items: [] }));
    told.set(name, { read: Date.now(), items });
  }
  const { items } = await told.get(name).items;
  return items.find((item) => Math.floor(new Date(item.at) / 1000) === at)?.reasons ?? [];
}

function beatAt(strip, place) {
  const beats = beatsOf(strip);
  const beat = beats[place - (BEATS - beats.length)];
  if (!beat) return { head: "No result", lines: [] };
  const check = strip.closest("[data-check]")?.dataset.check;
  const bad = beat.s === "d" || beat.s === "x" || beat.s === "q";
  const said = { head: `${WORDS[beat.s]}, ${millis(beat.ms)}`, lines: [short.format(beat.at * 1000)] };
  if (check) said.link = `/checks/${encodeURIComponent(check)}?before=${beat.at * 1000 + 1000}#results`;
  if (check && bad && document.body.dataset.events) said.more = reasons(check, beat.at);
  return said;
}

function show(strip, place) {
  const isDays = strip.classList.contains("days");
  const count = isDays ? DAYS : BEATS;
  place = Math.max(0, Math.min(count - 1, place));
  if (tipped && tipped.strip === strip && tipped.place === place && !tip.hidden) return;
  if (tipped && tipped.strip !== strip) mark(null);
  tipped = { strip, place };
  const said = isDays ? dayAt(strip, place) : beatAt(strip, place);
  const head = document.createElement("p");
  head.append(Object.assign(document.createElement("b"), { textContent: said.head }));
  const lines = said.lines.map((line) => Object.assign(document.createElement("p"), { textContent: line }));
  tip.replaceChildren(head, ...lines);
  said.more?.then((more) => {
    if (tipped?.strip !== strip || tipped.place !== place) return;
    const link = find("a", tip)?.parentNode ?? null;
    for (const line of more.slice(0, 3)) {
      tip.insertBefore(Object.assign(document.createElement("p"), { className: "reason", textContent: line }), link);
    }
    put(strip, place, count);
  });
  if (said.link && pinned) {
    const line = document.createElement("p");
    line.append(Object.assign(document.createElement("a"), { href: said.link, textContent: isDays ? "Results of that day" : "What was seen" }));
    tip.append(line);
  }
  tip.hidden = false;
  mark(strip, place, count);
  put(strip, place, count);
  return [said.head, ...said.lines].join(", ");
}

function put(strip, place, count) {
  const box = strip.getBoundingClientRect();
  const x = box.left + box.width * (place + 0.5) / count;
  const left = Math.max(8, Math.min(x - tip.offsetWidth / 2, document.documentElement.clientWidth - tip.offsetWidth - 8));
  const above = box.top - tip.offsetHeight - 6;
  tip.style.left = `${left + scrollX}px`;
  tip.style.top = `${(above > 4 ? above : box.bottom + 6) + scrollY}px`;
}

function mark(strip, place, count) {
  all(".strip .cursor").forEach((old) => old.remove());
  if (!strip) return;
  const wide = WIDTH / count;
  strip.append(element("rect", { class: "cursor", x: place * wide - 0.5, y: -2, width: wide + 1, height: 28, rx: 2 }));
}

function hide() {
  tip.hidden = true;
  tip.classList.remove("pinned");
  pinned = false;
  tipped = null;
  mark(null);
}

const placeOf = (strip, event) => {
  const box = strip.getBoundingClientRect();
  return Math.floor((event.clientX - box.left) / box.width * (strip.classList.contains("days") ? DAYS : BEATS));
};

function prepare(root) {
  for (const strip of all(".strip", root)) {
    strip.tabIndex = 0;
  }
  // The latest days of a calendar that is wider than the page.
  for (const calendar of all(".calendar", root)) calendar.parentNode.scrollLeft = calendar.parentNode.scrollWidth;
}

document.addEventListener("pointerover", (event) => {
  const time = event.target.closest?.("time[datetime]");
  if (time && !isNaN(new Date(time.dateTime))) time.title = full.format(new Date(time.dateTime));
  const strip = event.target.closest?.(".strip");
  // Its own titles would stand over the card.
  if (strip) all("title", strip).forEach((title) => {
    title.parentNode.setAttribute("aria-label", title.textContent);
    title.remove();
  });
});
document.addEventListener("pointermove", (event) => {
  if (pinned || event.pointerType === "touch") return;
  const strip = event.target.closest?.(".strip");
  if (strip) show(strip, placeOf(strip, event));
  else if (!tip.hidden && !tipped?.strip.matches(":focus-visible")) hide();
});
document.addEventListener("click", (event) => {
  const strip = event.target.closest?.(".strip");
  if (!strip) {
    if (!event.target.closest?.(".tip")) hide();
    return;
  }
  event.preventDefault();
  const place = placeOf(strip, event);
  const same = pinned && tipped?.strip === strip && tipped.place === place;
  hide();
  if (same) return;
  pinned = true;
  tip.classList.add("pinned");
  show(strip, place);
});
document.addEventListener("focusin", (event) => {
  if (event.target.matches?.(".strip:focus-visible")) {
    say(show(event.target, event.target.classList.contains("days") ? DAYS - 1 : BEATS - 1));
  }
});
document.addEventListener("focusout", (event) => {
  if (event.target.matches?.(".strip") && !pinned) hide();
});
document.addEventListener("keydown", (event) => {
  const strip = event.target.closest?.(".strip");
  const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -1000, End: 1000 };
  if (strip && event.key in steps) {
    event.preventDefault();
    const count = strip.classList.contains("days") ? DAYS : BEATS;
    const from = tipped?.strip === strip ? tipped.place : count;
    say(show(strip, Math.max(0, Math.min(count - 1, from + steps[event.key]))));
  } else if (strip && event.key === "Enter") {
    const link = beatOrDayLink(strip);
    if (link) location.assign(link);
  } else if (event.key === "Escape") {
    hide();
  } else if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !event.target.matches?.("input, textarea, select")) {
    const q = document.getElementById("q");
    if (q) {
      event.preventDefault();
      q.focus();
      q.select();
    }
  }
});

function beatOrDayLink(strip) {
  if (tipped?.strip !== strip) return null;
  return (strip.classList.contains("days") ? dayAt : beatAt)(strip, tipped.place).link;
}

// What a screen reader says.
function say(text) {
  const said = document.getElementById("said");
  if (text && said) said.textContent = text;
}

// Reading the page anew.
const stale = document.getElementById("stale");
let heard = 0;
let shown = Date.now(), failing = null, lost = 0, reading = false, again = false;
let address = location.href;

function key(node) {
  if (node.id) return () => document.getElementById(node.id);
  const row = node.closest("[data-check]");
  if (!row) return null;
  const name = CSS.escape(row.dataset.check), place = all("a, button, .strip", row).indexOf(node);
  return () => all("a, button, .strip", find(`[data-check="${name}"]`) ?? document)[place];
}

function isBusy(part) {
  const active = document.activeElement;
  const typing = active && part.contains(active) && active.matches("input:not([type=hidden]), textarea, select");
  const choice = document.getSelection();
  return typing || (pinned && part.contains(tipped.strip)) || (choice && !choice.isCollapsed && part.contains(choice.anchorNode));
}

function swap(fresh) {
  const head = find("h1")?.textContent;
  for (const part of all("[data-live][id]")) {
    const other = fresh.getElementById(part.id);
    if (!other || isBusy(part)) continue;
    const active = document.activeElement;
    const focused = active && part.contains(active) ? key(active) : null;
    if (tipped && part.contains(tipped.strip)) hide();
    const opened = all("details[open][id]", part).map((details) => details.id);
    part.replaceWith(other);
    opened.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
    localize(other);
    prepare(other);
    if (focused) focused()?.focus({ preventScroll: true });
  }
  ahead = new Date(fresh.body.dataset.now) - Date.now() || 0;
  document.title = fresh.title;
  find("link[rel=icon]").href = find("link[rel=icon]", fresh).href;
  const asOf = document.getElementById("as-of"), now = fresh.getElementById("as-of");
  if (asOf && now) {
    asOf.dateTime = now.dateTime;
    localize(asOf.parentNode);
  }
  const told = find("h1")?.textContent;
  if (told !== head) say(told);
  document.dispatchEvent(new Event("fresh"));
}

async function read() {
  if (reading) {
    again = true;
    return;
  }
  reading = true;
  try {
    const answer = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(10000), headers: { accept: "text/html" } });
    if (answer.status === 401 || answer.status === 403) throw new Error("You are signed out.");
    if (!answer.ok) throw new Error("The daemon cannot answer.");
    swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
    shown = Date.now();
    failing = null;
  } catch (error) {
    failing = error instanceof TypeError || error.name === "TimeoutError" ? "The daemon does not answer." : error.message;
  }
  reading = false;
  tell();
  plan(again ? 500 : undefined);
  again = false;
}

let planned = 0;
function plan(after) {
  clearTimeout(planned);
  const partial = find("[data-partial]") !== null;
  const every = (Number(document.body.dataset.every) || 10) * 1000;
  planned = setTimeout(() => {
    // A daemon that hangs closes no stream, so that only what was heard lately is a sign of life.
    const isQuiet = !isLive() || failing || Date.now() - heard > 15000 || Date.now() - shown > 60000;
    if (document.hidden || (after === undefined && !partial && !isQuiet)) plan();
    else read();
  }, after ?? (partial && !failing ? 1200 : isLive() && !failing ? 15000 : every));
}

let soon = 0;
function readSoon(after = 600) {
  if (soon) return;
  soon = setTimeout(() => {
    soon = 0;
    if (!document.hidden) read();
  }, after);
}

function tell() {
  let text = "";
  if (failing) text = `${failing} What you see is from ${clock.format(shown)}`;
  else if (lost && Date.now() - lost > 12000) text = "Live updates are cut off. The page is read anew every 10 seconds";
  if (!text) {
    stale.hidden = true;
    stale.textContent = "";
    return;
  }
  if (stale.dataset.text !== text || stale.hidden) {
    stale.dataset.text = text;
    stale.textContent = text;
    stale.append(Object.assign(document.createElement("span"), { ariaHidden: "true" }));
    stale.hidden = false;
  }
  stale.lastChild.textContent = failing ? ` (for ${span((Date.now() - shown) / 1000)}).` : ".";
}

// The stream of events.
let source = null;
const isLive = () => source !== null && source.readyState === EventSource.OPEN;

function listen() {
  const from = document.body.dataset.events;
  if (!from || source || document.hidden) return;
  const about = find("[data-listen]")?.dataset.listen;
  source = new EventSource(about ? `${from}?check=${encodeURIComponent(about)}` : from);
  source.addEventListener("open", () => {
    lost = 0;
    tell();
    plan();
  });
  source.addEventListener("error", () => {
    lost ||= Date.now();
    if (source.readyState === EventSource.CLOSED) {
      source = null;
      setTimeout(listen, 15000);
    }
    plan(1000);
  });
  source.addEventListener("reset", () => readSoon());
  source.addEventListener("incident", () => readSoon(300));
  source.addEventListener("verdict", (event) => {
    heard = Date.now();
    const verdict = JSON.parse(event.data);
    verdicts.set(verdict.check, verdict);
    if (verdicts.size === 1) requestAnimationFrame(showVerdicts);
  });
}

const verdicts = new Map();
function showVerdicts() {
  for (const [name, verdict] of verdicts) {
    const row = find(`[data-check="${CSS.escape(name)}"]`);
    if (!row) {
      // It may have to stand in front now.
      if (verdict.status !== "up" && find("[data-check]")) readSoon(5000);
      continue;
    }
    if (!(pinned && row.contains(tipped.strip))) beat(row, verdict);
    if (row.dataset.status !== verdict.status) readSoon();
    row.dispatchEvent(new CustomEvent("verdict", { detail: verdict }));
  }
  verdicts.clear();
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    source?.close();
    source = null;
    return;
  }
  listen();
  read();
});

// The search: what is typed is found at once.
const search = document.getElementById("search");
if (search) {
  let typed = 0;
  const go = () => {
    const asked = new URLSearchParams();
    for (const [name, value] of new FormData(search)) if (value || name === "group") asked.append(name, value);
    const query = asked.toString();
    address = query ? `/?${query}` : "/";
    history.replaceState(null, "", address);
    read();
  };
  search.addEventListener("submit", (event) => {
    event.preventDefault();
    go();
  });
  search.addEventListener("input", (event) => {
    clearTimeout(typed);
    typed = setTimeout(go, event.target.matches("select") ? 0 : 250);
  });
}

localize(document);
(window.requestIdleCallback ?? setTimeout)(() => prepare(document));
setInterval(() => {
  tell();
  if (!document.hidden) age();
}, 1000);
listen();
plan();
})();
