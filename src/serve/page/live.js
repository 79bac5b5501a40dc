// Keeps the page fresh: fetches it again and puts the new content in the place of the old one.
// When that fails, the page says since when what it shows is old.
"use strict";

const EVERY = 10_000;
let shown = new Date();

async function refresh() {
  if (document.hidden || String(document.getSelection())) return;
  const stale = document.getElementById("stale");
  try {
    const options = { cache: "no-store", signal: AbortSignal.timeout(8000) };
    const answer = await fetch(location.href, options);
    if (!answer.ok) throw new Error(answer.statusText);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.getElementById("live").replaceWith(fresh.getElementById("live"));
    document.querySelector("link[rel=icon]").href = fresh.querySelector("link[rel=icon]").href;
    document.title = fresh.title;
    shown = new Date();
    stale.hidden = true;
  } catch {
    stale.textContent = `No answer. What you see is from ${shown.toLocaleTimeString()}.`;
    stale.hidden = false;
  }
}

setInterval(refresh, EVERY);
document.addEventListener("visibilitychange", refresh);
