// What was known before any episode against what came of it: one point a cell, one marker a method.
const scatter = {points: [], cursor: 0, hidden: new Set()};
const MARGIN = {left: 52, right: 14, top: 12, bottom: 44};

function ticksOf(low, high) {
  const raw = (high - low) / 5, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((each) => each >= raw);
  const ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + 1e-9 * step; tick += step) ticks.push(Number(tick.toPrecision(6)));
  return ticks;
}
function pointOf(row, key) {
  const {edges} = figures.get(key), value = valueOf(row, key);
  return edges ? Math.min(edges[1], Math.max(edges[0], value)) : value;
}
function rangeOf(rows, key) {
  let low = Infinity, high = -Infinity;
  for (const row of rows) {
    const value = pointOf(row, key);
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return [0, 1];
  const room = 0.04 * (high - low) || 0.5;
  return [low - room, high + room];
}

function drawScatter() {
  const canvas = byId("scatter"), [fit, outcome] = [byId("fit").value, byId("outcome").value];
  const width = canvas.parentElement.clientWidth, height = Math.min(420, Math.max(280, 0.55 * width));
  const context = sharpen(canvas, width, height), rows = [];
  for (let row = 0; row < rowCount; row += 1) {
    if (cols.place[row] === heat.place && cols[fit][row] !== null && cols[outcome][row] !== null && !scatter.hidden.has(cols.method[row])) rows.push(row);
  }
  const [xs, ys] = [rangeOf(rows, fit), rangeOf(rows, outcome)];
  const x = (value) => MARGIN.left + ((value - xs[0]) / (xs[1] - xs[0])) * (width - MARGIN.left - MARGIN.right);
  const y = (value) => height - MARGIN.bottom - ((value - ys[0]) / (ys[1] - ys[0])) * (height - MARGIN.top - MARGIN.bottom);
  scatterAxes(context, width, height, x, y, ticksOf(...xs), ticksOf(...ys), figures.get(fit).label, figures.get(outcome).label);
  scatter.points = rows.map((row) => [row, x(pointOf(row, fit)), y(pointOf(row, outcome))]).sort((a, b) => a[1] - b[1]);
  const size = rows.length > 3000 ? 2 : rows.length > 500 ? 3 : 4.5;
  context.globalAlpha = rows.length > 3000 ? 0.5 : 0.8;
  context.strokeStyle = themed("--page");
  context.lineWidth = 0.6;
  for (const [index] of data.methods.entries()) {
    context.fillStyle = methodColour(index);
    for (const [row, left, top] of scatter.points) if (cols.method[row] === index) marker(context, index, left, top, size);
  }
  context.globalAlpha = 1;
  const ring = (point, colour) => {
    context.strokeStyle = colour;
    context.lineWidth = 2.5;
    context.beginPath();
    context.arc(point[1], point[2], 8, 0, 2 * Math.PI);
    context.stroke();
  };
  const found = scatter.points.find((point) => point[0] === page.chosen);
  if (found) ring(found, themed("--bad"));
  if (document.activeElement === canvas && scatter.points[scatter.cursor]) ring(scatter.points[scatter.cursor], themed("--text"));
  canvas.setAttribute("aria-label", `${figures.get(outcome).label} against ${figures.get(fit).label}, ${rows.length} cells. Arrow keys walk from left to right, Enter chooses.`);
  ranks(fit, outcome);
}
function scatterAxes(context, width, height, x, y, across, up, xName, yName) {
  context.font = font(12);
  context.strokeStyle = themed("--line");
  context.fillStyle = themed("--soft");
  context.textAlign = "center";
  const text = (tick) => String(tick).replace("-", "−");
  const line = (...ends) => { context.beginPath(); context.moveTo(ends[0], ends[1]); context.lineTo(ends[2], ends[3]); context.stroke(); };
  for (const tick of across) {
    line(x(tick), MARGIN.top, x(tick), height - MARGIN.bottom);
    context.fillText(text(tick), x(tick), height - MARGIN.bottom + 16);
  }
  context.textAlign = "right";
  for (const tick of up) {
    line(MARGIN.left, y(tick), width - MARGIN.right, y(tick));
    context.fillText(text(tick), MARGIN.left - 6, y(tick) + 4);
  }
  context.textAlign = "center";
  context.fillText(xName, (MARGIN.left + width - MARGIN.right) / 2, height - 8);
  context.save();
  context.translate(12, (height - MARGIN.bottom) / 2);
  context.rotate(-Math.PI / 2);
  context.fillText(yName, 0, 0);
  context.restore();
}
function ranks(fit, outcome) {
  const here = data.correlations.filter((entry) => entry.place === data.places[heat.place] && entry.rho !== null);
  const found = here.filter((entry) => entry.fit === fit && entry.outcome === outcome);
  const texts = found.map((entry) => `${entry.method} ${entry.rho.toFixed(2).replace("-", "−")} (${entry.cells} cells)`);
  byId("ranks").textContent = texts.length ? `Spearman’s rank correlation: ${texts.join(", ")}.` : "";
}

function scatterKey(event) {
  const last = scatter.points.length - 1;
  const moves = {ArrowLeft: scatter.cursor - 1, ArrowRight: scatter.cursor + 1, Home: 0, End: last};
  if (event.key === "Enter" || event.key === " ") {
    if (scatter.points[scatter.cursor]) choose(scatter.points[scatter.cursor][0]);
  } else if (event.key in moves) {
    scatter.cursor = Math.min(last, Math.max(0, moves[event.key]));
    if (last >= 0) byId("scatter-readout").textContent = sentence(scatter.points[scatter.cursor][0]);
    drawScatter();
  } else return;
  event.preventDefault();
}
function nearest(event) {
  const frame = byId("scatter").getBoundingClientRect();
  const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
  let found = -1, best = 14 ** 2;
  scatter.points.forEach(([, left, top], i) => {
    const distance = (left - x) ** 2 + (top - y) ** 2;
    if (distance < best) [found, best] = [i, distance];
  });
  return found;
}
function methodBoxes() {
  data.methods.forEach((name, index) => {
    if (name === data.unjoined) return;
    const box = make("input", {type: "checkbox"}), sample = make("canvas", {"aria-hidden": "true"});
    box.checked = true;
    box.addEventListener("change", () => {
      if (box.checked) scatter.hidden.delete(index);
      else scatter.hidden.add(index);
      drawScatter();
    });
    byId("shown-methods").append(make("label", {}, box, sample, name));
    drawings.push(() => {
      const context = sharpen(sample, 16, 16);
      context.fillStyle = methodColour(index);
      context.strokeStyle = themed("--page");
      marker(context, index, 8, 8, 5);
    });
  });
}
function scatterParts() {
  const fits = data.figures.filter((figure) => figure.fit);
  const outcomes = data.figures.filter((figure) => ["recovery", "return_mean", "success"].includes(figure.key));
  if (!fits.length || !outcomes.length) {
    byId("diagnostics").hidden = true;
    return;
  }
  fits.forEach((figure) => option(byId("fit"), figure.key, figure.label));
  outcomes.forEach((figure) => option(byId("outcome"), figure.key, figure.label));
  methodBoxes();
  const canvas = byId("scatter");
  for (const id of ["fit", "outcome", "place"]) byId(id).addEventListener("change", drawScatter);
  canvas.addEventListener("keydown", scatterKey);
  canvas.addEventListener("mousemove", (event) => {
    const found = nearest(event);
    byId("scatter-readout").textContent = found < 0 ? "" : sentence(scatter.points[found][0]);
  });
  canvas.addEventListener("click", (event) => {
    const found = nearest(event);
    if (found < 0) return;
    scatter.cursor = found;
    choose(scatter.points[found][0]);
  });
  for (const change of ["focus", "blur"]) canvas.addEventListener(change, drawScatter);
  page.listeners.push(drawScatter);
  drawings.push(drawScatter);
}
