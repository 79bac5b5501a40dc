// Draws the latency of a check with uPlot, in the place of the drawing that came with the page.
"use strict";

(() => {
let plot = null;

// A colour of the stylesheet as it is here and now, light or dark.
function colour(place, name) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  place.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const curve = (className) => {
  const probe = document.createElement("i");
  probe.className = className;
  document.body.append(probe);
  const found = colour(probe, "--curve");
  probe.remove();
  return found;
};

const shade = (className) => {
  const probe = document.createElement("i");
  probe.className = className;
  document.body.append(probe);
  const found = colour(probe, "--shade");
  probe.remove();
  return found;
};

function millis(ms) {
  if (ms == null) return "–";
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function draw() {
  const place = document.querySelector(".chart[data-t]");
  plot?.destroy();
  plot = null;
  if (!place || !window.uPlot || !place.dataset.t) return;
  const numbers = (text) => text.split(",").map((value) => (value === "-" ? null : Number(value)));
  const data = [place.dataset.t, place.dataset.p50, place.dataset.p95, place.dataset.p99].map(numbers);
  const bands = place.dataset.bands ? place.dataset.bands.split(",").map((band) => {
    const [what, from, to] = band.split(":");
    return { fill: shade(what), from: Number(from), to: Number(to) };
  }) : [];
  const ink = colour(document.body, "--faint"), line = colour(document.body, "--line");
  const series = (label, name, width) => ({
    label, width, stroke: curve(name), spanGaps: false, value: (_, value) => millis(value),
    points: { show: data[0].length < 3 },
  });
  const time = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const ends = [place.dataset.from, place.dataset.to].map((at) => new Date(at) / 1000);
  const isShort = ends[1] - ends[0] < 130000;
  const tickOf = new Intl.DateTimeFormat(undefined, isShort
    ? { hour: "numeric", minute: "2-digit" } : { month: "short", day: "numeric" });
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  const shades = (u) => {
    for (const band of bands) {
      const from = Math.max(u.bbox.left, u.valToPos(band.from, "x", true));
      const to = Math.min(u.bbox.left + u.bbox.width, u.valToPos(band.to, "x", true));
      u.ctx.fillStyle = band.fill;
      if (to >= from) u.ctx.fillRect(from, u.bbox.top, Math.max(2, to - from), u.bbox.height);
    }
  };
  const options = {
    width: place.clientWidth,
    height: 250,
    cursor: { y: false },
    legend: { live: true },
    scales: { x: { range: () => ends }, y: { range: (_, low, high) => [0, (high || 1) * 1.08] } },
    axes: [{ ...axis, space: 70, ...(isShort ? {} : { incrs: [1, 2, 7, 14, 30, 60].map((days) => days * 86400) }), values: (_, ticks) => ticks.map((tick) => tickOf.format(tick * 1000)) }, { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => millis(tick)) }],
    series: [{ label: "at", value: (_, at) => (at == null ? "–" : time.format(at * 1000)) },
      series("median", "p50", 2), series("p95", "p95", 1.25), series("p99", "p99", 1.25)],
    hooks: { drawClear: [shades] },
  };
  place.closest("figure")?.classList.add("scripted");
  place.replaceChildren();
  plot = new uPlot(options, data, place);
  box.disconnect();
  box.observe(place.closest("figure") ?? place);
}

// The box and not what is in it: the chart would hold it open.
const box = new ResizeObserver(() => {
  const place = document.querySelector(".chart[data-t]");
  if (plot && place && place.clientWidth !== plot.width) plot.setSize({ width: place.clientWidth, height: 250 });
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
document.addEventListener("fresh", draw);
draw();
})();
