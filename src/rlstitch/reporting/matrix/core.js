// What all parts share: the data, the chosen cell, how numbers and colours are made. Text is set as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const cols = data.columns;
const rowCount = cols.encoder.length;
const figures = new Map(data.figures.map((figure) => [figure.key, figure]));
const stateOf = (row) => data.states[cols.state[row]];
const agentOf = (side, row) => data.agents[cols[side][row]];
const methodOf = (row) => data.methods[cols.method[row]];
// Worlds as they were asked for. Where there is one alone, nothing is said of it.
const several = data.places.length > 1;
const placeOf = (row) => data.places[cols.place[row]];
const inPlace = (row) => (several ? `, in ${placeOf(row)}` : "");
const byId = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function option(select, value, label, chosen = false) {
  const entry = make("option", {value}, label);
  entry.selected = chosen;
  select.append(entry);
}

// Numbers: a dash where there is none, a real minus sign, no minus before a zero.
const NONE = "–";
function written(value, figure) {
  if (value === null || value === undefined) return NONE;
  const text = (value * figure.scale).toFixed(figure.decimals);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
}
function interval(row, figure) {
  const stem = figure.key.replace("_mean", "");
  const [low, high] = [cols[`${stem}_low`], cols[`${stem}_high`]];
  if (!low || low[row] === null || high[row] === null) return "";
  return `[${written(low[row], figure)}, ${written(high[row], figure)}]`;
}
function valueOf(row, key) {
  const value = cols[key][row];
  return value === null ? null : value * figures.get(key).scale;
}
function sentence(row) {
  const who = `${agentOf("encoder", row)} → ${agentOf("controller", row)}, ${methodOf(row)}${inPlace(row)}`;
  if (stateOf(row) !== "done") return `${who}: ${stateOf(row)}${reasonOf(row) ? `, ${reasonOf(row)}` : ""}`;
  const parts = data.figures.filter((figure) => !figure.fit && cols[figure.key][row] !== null)
    .map((figure) => `${figure.label} ${written(cols[figure.key][row], figure)} ${interval(row, figure)}`.trim());
  const same = cols.same_seed[row] ? "; same seed" : "";
  return `${who}: ${parts.join(", ")}${same}${reasonOf(row) ? `; ${reasonOf(row)}` : ""}`;
}
const reasonOf = (row) => data.reasons[cols.reason[row]];

// Colours of shares between 0 and 1; beyond, those of the ends.
const RAMP = data.ramp;
function rampColour(share) {
  const at = Math.min(1, Math.max(0, share)) * (RAMP.length - 1);
  const below = Math.min(RAMP.length - 2, Math.floor(at));
  return RAMP[below].map((part, i) => Math.round(part + (at - below) * (RAMP[below + 1][i] - part)));
}
const css = (rgb) => `rgb(${rgb.join(" ")})`;
const inkOn = (rgb) => (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 118 ? "#111" : "#fff");
const shareOf = (value, figure) => (value - figure.low) / (figure.high - figure.low);
const themed = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const methodColour = (index) => themed(`--series-${index % 8}`);

// A canvas as sharp as the screen; returns its context in CSS pixels.
function sharpen(canvas, width, height) {
  const ratio = Math.min(3, window.devicePixelRatio || 1);
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}
const font = (size, bold = false) => `${bold ? "600 " : ""}${size}px ${getComputedStyle(document.body).fontFamily}`;
// Names differ at their ends: the middle goes.
function fitted(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let keep = text.length - 1;
  const cut = () => `${text.slice(0, Math.ceil(keep / 2))}…${text.slice(text.length - Math.floor(keep / 2))}`;
  while (keep > 2 && context.measureText(cut()).width > width) keep -= 1;
  return cut();
}

// One marker a method, told apart by shape as well as by colour.
function marker(context, shape, x, y, size) {
  context.beginPath();
  if (shape % 6 === 0) context.arc(x, y, size, 0, 2 * Math.PI);
  else if (shape % 6 === 1) context.rect(x - 0.9 * size, y - 0.9 * size, 1.8 * size, 1.8 * size);
  else {
    const corners = [null, null, [-90, 30, 150], [0, 90, 180, 270], [90, 210, 330], [-90, -18, 54, 126, 198]][shape % 6];
    for (const degrees of corners) {
      const angle = (degrees * Math.PI) / 180;
      context.lineTo(x + 1.25 * size * Math.cos(angle), y + 1.25 * size * Math.sin(angle));
    }
    context.closePath();
  }
  context.fill();
  context.stroke();
}

// The cell that is chosen, and who wants to know. Its address stands behind the page's, so that it can be passed on.
const page = {chosen: -1, listeners: []};
function choose(row) {
  page.chosen = row;
  history.replaceState(null, "", `#cell=${addressOf(row)}`);
  for (const listener of page.listeners) listener(row);
}
function addressOf(row) {
  const parts = [agentOf("encoder", row), agentOf("controller", row), methodOf(row)];
  if (cols.place[row] > 0) parts.push(placeOf(row));
  return parts.map(encodeURIComponent).join("/");
}
function rowOfAddress() {
  if (!location.hash.startsWith("#cell=")) return -1;
  const wanted = location.hash.slice(6);
  for (let row = 0; row < rowCount; row += 1) if (addressOf(row) === wanted) return row;
  return -1;
}

// Everything that is drawn is drawn anew when its width, the colour scheme, or the medium changes.
const drawings = [];
let waiting = false;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; drawings.forEach((draw) => draw()); });
}
window.addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
