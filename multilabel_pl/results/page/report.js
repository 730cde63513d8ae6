"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const color = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
const shown = (value) => value == null ? "–" : value.toFixed(4);
const ratio = (part, whole) => whole ? part / whole : null;
const COLORS = ["accent", "second", "third"];
const HEIGHT = 280;
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]; // epochs from tick to tick
const FONT = "12px system-ui, sans-serif";
const charts = [];

// A chart that is as wide as its place, in the colours of the page. `mark` draws over it.
function chart(place, x, series, values, options = {}) {
  const axis = (label, size) => ({
    label, size, labelSize: 18, font: FONT, labelFont: FONT, stroke: color("text"),
    grid: {stroke: color("line"), width: 1}, ticks: {show: false},
  });
  const made = new uPlot({
    width: place.clientWidth || 300, height: HEIGHT,
    scales: {x: {time: false, range: options.xRange}, y: {range: options.yRange}},
    axes: [{...axis(x, 26), incrs: options.steps}, axis(options.y ?? "", 44)],
    series: [{label: x, value: (_, value) => shown(value)}, ...series.map((label, index) => ({
      label, stroke: color(COLORS[options.colors?.[index] ?? index]), width: 2, spanGaps: true, value: (_, value) => shown(value),
      points: {show: options.points ?? false, size: 5},
    }))],
    cursor: {drag: {x: true, y: true}},
    hooks: {draw: options.mark ? [options.mark] : []},
  }, values, place);
  new ResizeObserver(() => made.setSize({width: place.clientWidth, height: HEIGHT})).observe(place);
  charts.push(made);
  return made;
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((each) => each.redraw()));

function line(plot, points, dash = []) {
  const {ctx} = plot;
  ctx.save();
  ctx.strokeStyle = color("muted")();
  ctx.setLineDash(dash);
  ctx.beginPath();
  for (const [x, y] of points) ctx.lineTo(plot.valToPos(x, "x", true), plot.valToPos(y, "y", true));
  ctx.stroke();
  ctx.restore();
}

// Figures of a label at its index-th threshold.
function figures(label, index) {
  const hits = label.hits[index], mistaken = label.mistaken[index];
  return {
    threshold: label.thresholds[index],
    precision: ratio(hits, hits + mistaken),
    recall: ratio(hits, label.positives),
    f1: ratio(2 * hits, hits + mistaken + label.positives),
    hits, mistaken, missed: label.positives - hits, left: label.negatives - mistaken,
  };
}

const ROWS = {
  threshold: "threshold", precision: "precision", recall: "recall", f1: "F1",
  hits: "true, tagged", missed: "true, not tagged", mistaken: "not true, tagged", left: "not true, not tagged",
};

function explore() {
  const [select, slider, typed] = ["label", "threshold", "chosen"].map(byId);
  const rows = Object.entries(ROWS).map(([name, text]) => {
    const row = byId("effect").tBodies[0].insertRow();
    const header = document.createElement("th");
    header.scope = "row";
    header.textContent = text;
    row.append(header);
    return [name, row.insertCell(), row.insertCell()];
  });
  select.append(...data.labels.map((label, index) => new Option(label.name, index)));
  const current = () => data.labels[select.value];
  const write = (value, name) => name === "threshold" ? value : ["precision", "recall", "f1"].includes(name) ? shown(value) : value.toLocaleString("en");
  const unit = [0, 1];

  const dot = (plot) => {
    const {recall, precision} = figures(current(), slider.value);
    if (recall == null || precision == null) return;
    plot.ctx.beginPath();
    plot.ctx.arc(plot.valToPos(recall, "x", true), plot.valToPos(precision, "y", true), 5 * devicePixelRatio, 0, 7);
    plot.ctx.fillStyle = color("text")();
    plot.ctx.fill();
  };
  const upright = (plot) => {
    const {threshold} = figures(current(), slider.value);
    line(plot, [[threshold, plot.scales.y.min], [threshold, plot.scales.y.max]], [4, 4]);
  };
  const both = [
    chart(byId("precision-recall"), "recall", ["precision"], [[], []], {y: "precision", mark: dot}),
    chart(byId("by-threshold"), "threshold", ["F1", "precision", "recall"], [[], [], [], []], {xRange: unit, yRange: unit, mark: upright}),
  ];

  const show = () => {
    const [model, chosen] = [figures(current(), current().own), figures(current(), slider.value)];
    for (const [name, before, after] of rows) {
      before.textContent = write(model[name], name);
      after.textContent = write(chosen[name], name);
    }
    typed.value = chosen.threshold;
    slider.setAttribute("aria-valuetext", chosen.threshold);
    both.forEach((plot) => plot.redraw(false));
  };
  const choose = () => {
    const all = current().thresholds.map((_, index) => figures(current(), index));
    slider.max = all.length - 1;
    slider.value = current().own;
    const curve = all.filter(({precision, recall}) => precision != null && recall != null).reverse(); // by recall
    both[0].setData([curve.map(({recall}) => recall), curve.map(({precision}) => precision)]);
    both[1].setData([all.map(({threshold}) => threshold), ...["f1", "precision", "recall"].map((name) => all.map((each) => each[name]))]);
    show();
  };
  select.addEventListener("change", choose);
  slider.addEventListener("input", show);
  typed.addEventListener("change", () => {
    const distances = current().thresholds.map((each) => Math.abs(each - typed.value));
    slider.value = distances.indexOf(Math.min(...distances));
    show();
  });
  byId("reset").addEventListener("click", () => { slider.value = current().own; show(); });
  choose();
}

function filterMistakes() {
  const all = [...document.querySelectorAll("#mistakes figure")];
  if (!all.length) return;
  const show = () => {
    const [label, kinds] = [byId("mistaken").value, byId("kind").value.split(" ")];
    const fits = (figure) => kinds.some((kind) => {
      const labels = figure.dataset[kind].split(" ").filter(Boolean);
      return label ? labels.includes(label) : labels.length > 0;
    });
    for (const figure of all) figure.hidden = !fits(figure);
    byId("shown").textContent = `${all.filter((figure) => !figure.hidden).length} of ${all.length} shown`;
  };
  for (const id of ["mistaken", "kind"]) byId(id).addEventListener("change", show);
  byId("explained")?.addEventListener("change", (event) => {
    for (const figure of all.filter((each) => each.querySelector("img.heat"))) {
      figure.querySelector("img:not(.heat)").hidden = event.target.checked;
      for (const part of figure.querySelectorAll(".heat")) part.hidden = !event.target.checked;
    }
  });
  show();
}

function reliability({probability, share, low, high}) {
  const diagonal = (plot) => line(plot, [[0, 0], [1, 1]], [4, 4]);
  const bars = (plot) => probability.forEach((x, index) => line(plot, [[x, low[index]], [x, high[index]]]));
  const mark = (plot) => { diagonal(plot); bars(plot); };
  chart(byId("reliability"), "probability", ["share of positives"], [probability, share], {xRange: [0, 1], yRange: [0, 1], points: true, mark});
}

for (const section of document.querySelectorAll("main > section")) {
  const link = document.createElement("a");
  link.href = `#${section.id}`;
  link.textContent = section.querySelector("h2").textContent;
  document.querySelector("nav").append(link);
}
explore();
filterMistakes();
if (data.reliability) reliability(data.reliability);
data.curves.forEach(({names, colors, values}, index) => {
  chart(byId(`curve-${index}`), "epoch", names, values, {points: true, colors, steps: WHOLE});
});
