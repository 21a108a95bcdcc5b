// Heat maps: a table for each method, encoders down and controllers across.
const heat = {metric: data.metrics[0], place: -1, numbers: false, rows: [], columns: [], at: null, tables: new Map()};
const N = data.agents.length;

// One world is shown at a time. A native that was measured in it stands on the diagonal of every map.
function enter(place) {
  heat.place = place;
  heat.at = new Int32Array(data.methods.length * N * N).fill(-1);
  for (let row = rowCount - 1; row >= 0; row -= 1) {
    if (cols.place[row] !== place) continue;
    const native = methodOf(row) === data.native_method, methods = native ? data.methods.keys() : [cols.method[row]];
    for (const method of methods) heat.at[(method * N + cols.encoder[row]) * N + cols.controller[row]] = row;
  }
  for (const plots of document.querySelectorAll(".diagnostics")) plots.hidden = Number(plots.dataset.place) !== place;
}
const rowAt = (method, i, j) => heat.at[(method * N + heat.rows[i]) * N + heat.columns[j]];

// The prefix that all names share is written once, above: a phone has no room to repeat it.
const shared = data.agents.reduce((start, name) => {
  while (!name.startsWith(start)) start = start.slice(0, start.slice(0, -1).lastIndexOf("-") + 1);
  return start;
}, data.agents.length ? data.agents[0].slice(0, data.agents[0].lastIndexOf("-") + 1) : "");
function label(agent) {
  const name = data.agents[agent].slice(shared.length);
  return name.length > 24 ? `${name.slice(0, 12)}…${name.slice(-11)}` : name; // names differ at their ends
}
// Over stitched cells: none of natives, of controls, or of agents of one seed that do not count.
function order(side) {
  const agents = [...new Set(cols[side])].sort((a, b) => a - b), values = cols[heat.metric.key];
  if (byId("order").value !== "mean") return agents;
  const sums = new Float64Array(N), counts = new Float64Array(N);
  for (let row = 0; row < rowCount; row += 1) {
    if (values[row] === null || cols.place[row] !== heat.place || !data.stitched[cols.method[row]]) continue;
    if (cols.same_seed[row] && !cols.counted[row]) continue;
    sums[cols[side][row]] += values[row];
    counts[cols[side][row]] += 1;
  }
  const sign = heat.metric.lowest_first ? -1 : 1;
  const means = sums.map((sum, i) => (counts[i] ? sign * sum / counts[i] : -Infinity));
  return agents.sort((a, b) => means[b] - means[a] || a - b);
}

function square(method, i, j) {
  const row = rowAt(method, i, j), value = row < 0 ? null : cols[heat.metric.key][row], cell = document.createElement("td");
  cell.tabIndex = -1;
  if (value !== null) {
    const step = shade(value, heat.metric);
    cell.style.backgroundColor = data.ramp[step];
    cell.className = `${step < data.ramp.length / 2 ? "low" : "high"}${cols.same_seed[row] ? " same-seed" : ""}`;
    if (heat.numbers) cell.textContent = written(value, heat.metric);
  } else if (row >= 0) cell.textContent = {refused: "×", missing: "?"}[stateOf(row)] || NONE;
  else if (heat.rows[i] === heat.columns[j]) cell.textContent = "n";
  return cell;
}
function draw(method) {
  const names = heat.columns.map((agent) => make("th", {scope: "col"}, make("span", {}, label(agent))));
  const lines = heat.rows.map((agent, i) => make("tr", {}, make("th", {scope: "row"}, make("bdi", {}, label(agent))), ...heat.columns.map((_, j) => square(method, i, j))));
  const table = heat.tables.get(method);
  table.style.setProperty("--columns", heat.columns.length);
  table.replaceChildren(make("caption", {}, `${heat.metric.label}, ${data.methods[method]}: encoders down, controllers across`),
    make("thead", {}, make("tr", {}, make("td"), ...names)), make("tbody", {}, ...lines));
  if (lines.length) table.rows[1].cells[1].tabIndex = 0;
}
function textAt(method, i, j) {
  const row = rowAt(method, i, j);
  if (row >= 0) return sentence(row);
  const [encoder, controller] = [heat.rows[i], heat.columns[j]];
  if (encoder !== controller) return `${data.agents[encoder]} → ${data.agents[controller]}: no such cell`;
  const value = data.native[encoder];
  return `${data.agents[encoder]}: the native agent${value === undefined ? "" : `, return ${value}`}`;
}
function mark(row) {
  for (const cell of document.querySelectorAll(".heat .chosen")) cell.classList.remove("chosen");
  if (row < 0 || cols.place[row] !== heat.place) return;
  const [i, j] = [heat.rows.indexOf(cols.encoder[row]), heat.columns.indexOf(cols.controller[row])];
  for (const table of heat.tables.values()) table.rows[i + 1].cells[j + 1].classList.add("chosen");
}

function heatMap(method) {
  const table = make("table", {role: "grid"}), readout = make("output", {class: "readout", "aria-live": "polite"});
  heat.tables.set(method, table);
  byId("heat").append(make("figure", {class: "heat"}, make("h3", {}, data.methods[method]), make("div", {class: "heat-box"}, table), readout));
  const placeOfCell = (event) => {
    const cell = event.target.closest("tbody td");
    return cell && [cell.parentElement.rowIndex - 1, cell.cellIndex - 1];
  };
  const show = (event) => {
    const place = placeOfCell(event);
    readout.textContent = place ? textAt(method, ...place) : "";
  };
  const pick = (event) => {
    const place = placeOfCell(event);
    if (place && rowAt(method, ...place) >= 0) choose(rowAt(method, ...place));
  };
  for (const kind of ["mouseover", "focusin"]) table.addEventListener(kind, show);
  table.addEventListener("click", pick);
  table.addEventListener("keydown", (event) => {
    const steps = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageUp: [-10, 0], PageDown: [10, 0], Home: [0, -N], End: [0, N]};
    const place = placeOfCell(event), step = steps[event.key];
    if (!place || !(step || event.key === "Enter" || event.key === " ")) return;
    if (step) {
      const ends = [heat.rows.length, heat.columns.length];
      const [i, j] = place.map((at, side) => Math.min(ends[side] - 1, Math.max(0, at + step[side])));
      event.target.tabIndex = -1;
      table.rows[i + 1].cells[j + 1].tabIndex = 0;
      table.rows[i + 1].cells[j + 1].focus();
    } else pick(event);
    event.preventDefault();
  });
}
function drawAll() {
  heat.metric = metrics.get(byId("metric").value);
  if (heat.place !== Number(byId("place").value)) enter(Number(byId("place").value));
  heat.numbers = byId("numbers").checked;
  byId("heat").classList.toggle("numbered", heat.numbers);
  [heat.rows, heat.columns] = [order("encoder"), order("controller")];
  const plain = {...heat.metric, scale: 1};
  byId("ramp-low").textContent = `${heat.metric.label}: ${written(heat.metric.low, plain)}`;
  byId("ramp-high").textContent = written(heat.metric.high, plain);
  byId("order").options[1].text = `by mean, ${heat.metric.lowest_first ? "lowest" : "highest"} first`;
  for (const method of heat.tables.keys()) draw(method);
  mark(page.chosen);
}
function heatMaps() {
  data.metrics.forEach((metric) => option(byId("metric"), metric.key, metric.label));
  data.places.forEach((place, index) => option(byId("place"), String(index), place));
  byId("place").parentElement.hidden = !several;
  byId("numbers").checked = N <= 30;
  byId("heat").classList.toggle("many", N > 30);
  byId("ramp").style.background = `linear-gradient(to right, ${data.ramp.join()})`;
  if (shared) byId("shared").textContent = `All names begin with ${shared}`;
  data.methods.forEach((name, method) => { if (name !== data.native_method) heatMap(method); });
  for (const id of ["metric", "order", "numbers", "place"]) byId(id).addEventListener("change", drawAll);
  page.listeners.push((row) => {
    if (cols.place[row] === heat.place) return mark(row);
    byId("place").value = String(cols.place[row]); // a cell of another world was chosen: show that world
    return drawAll();
  });
  drawAll();
}
