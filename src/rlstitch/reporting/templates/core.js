// Shared by all parts: the data, the chosen cell, how numbers and colours are written. Text is set as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const cols = data.columns;
const rowCount = cols.encoder.length;
const metrics = new Map(data.metrics.map((metric) => [metric.key, metric]));
const stateOf = (row) => data.states[cols.state[row]];
const agentOf = (side, row) => data.agents[cols[side][row]];
const methodOf = (row) => data.methods[cols.method[row]];
const reasonOf = (row) => data.reasons[cols.reason[row]];
// Worlds as they were asked for; with a single one, none is named.
const several = data.places.length > 1;
const placeOf = (row) => data.places[cols.place[row]];
const pairOf = (row) => `${agentOf("encoder", row)} → ${agentOf("controller", row)}, ${methodOf(row)}${several ? `, in ${placeOf(row)}` : ""}`;
const byId = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
function option(select, value, label) {
  select.append(make("option", {value}, label));
}

// Numbers: a dash for none, a real minus sign, no minus before a zero.
const NONE = "–";
function written(value, metric) {
  if (value === null || value === undefined) return NONE;
  const text = (value * metric.scale).toFixed(metric.decimals);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
}
function interval(row, metric) {
  const stem = metric.key.replace("_mean", "");
  const [low, high] = [cols[`${stem}_low`], cols[`${stem}_high`]];
  if (!low || low[row] === null || high[row] === null) return "";
  return `[${written(low[row], metric)}, ${written(high[row], metric)}]`;
}
function sentence(row) {
  if (stateOf(row) !== "done") return `${pairOf(row)}: ${noteOf(row)}`;
  const parts = data.metrics.filter((metric) => !metric.fit && cols[metric.key][row] !== null)
    .map((metric) => `${metric.label} ${written(cols[metric.key][row], metric)} ${interval(row, metric)}`.trim());
  return `${pairOf(row)}: ${parts.join(", ")}${noteOf(row) ? `; ${noteOf(row)}` : ""}`;
}

// Index into the colours of heat maps, from 0 to 1; beyond, the ends.
function shade(value, metric) {
  const share = (value * metric.scale - metric.low) / (metric.high - metric.low);
  return Math.round(Math.min(1, Math.max(0, share)) * (data.ramp.length - 1));
}

// The chosen cell and its listeners. Its address is in the fragment of the page's, so that it can be passed on.
const page = {chosen: -1, listeners: []};
function choose(row) {
  history.replaceState(null, "", `#cell=${addressOf(row)}`);
  show(row);
  byId("cell-box").open = true;
}
function show(row) {
  page.chosen = row;
  for (const listener of page.listeners) listener(row);
}
function addressOf(row) {
  const parts = [agentOf("encoder", row), agentOf("controller", row), methodOf(row)];
  if (cols.place[row] > 0) parts.push(placeOf(row));
  return parts.map(encodeURIComponent).join("/");
}
function rowOfAddress() {
  if (!location.hash.startsWith("#cell=")) return -1;
  return cols.encoder.findIndex((_, row) => addressOf(row) === location.hash.slice(6));
}
