// The table of cells: sorted, filtered, 25 rows at a time, so that a page of thirty thousand cells opens quickly.
const PAGE_ROWS = 25;
const table = {order: [], key: null, rising: true, page: 0, focus: 0};
const SIDES = ["encoder", "controller", "method", "world", "place"];
const NAMES = {encoder: "agents", controller: "agents", method: "methods", world: "worlds", place: "places"};

function sortKey(row, key) {
  if (SIDES.includes(key)) return data[NAMES[key]][cols[key][row]];
  return cols[key][row];
}
function sorted(rows) {
  if (table.key === null) return rows;
  const sign = table.rising ? 1 : -1, texts = SIDES.includes(table.key);
  return rows.sort((a, b) => {
    const [x, y] = [sortKey(a, table.key), sortKey(b, table.key)];
    if (x === null || y === null) return (x === null) - (y === null) || a - b; // no value sorts last, both ways
    return (texts ? x.localeCompare(y, "en", {numeric: true}) : x - y) * sign || a - b;
  });
}
const KINDS = {
  all: () => true,
  counted: (row) => cols.counted[row] === 1,
  same: (row) => cols.same_seed[row] === 1,
  refused: (row) => stateOf(row) === "refused",
  missing: (row) => stateOf(row) === "missing",
};
function select() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const method = byId("only-method").value, place = byId("only-place").value, kind = KINDS[byId("only-kind").value], rows = [];
  for (let row = 0; row < rowCount; row += 1) {
    if ((method !== "" && cols.method[row] !== Number(method)) || !kind(row)) continue;
    if (place !== "" && cols.place[row] !== Number(place)) continue;
    const text = words.length ? `${agentOf("encoder", row)} ${agentOf("controller", row)} ${data.worlds[cols.world[row]]}`.toLowerCase() : "";
    if (words.every((word) => text.includes(word))) rows.push(row);
  }
  table.order = sorted(rows);
  table.page = table.focus = 0;
  fill();
}

function cellsOf(row) {
  const names = [
    make("th", {scope: "row"}, agentOf("encoder", row)),
    make("td", {class: "name"}, agentOf("controller", row)),
    make("td", {class: "name"}, methodText(row)),
  ];
  return names.concat(data.metrics.map((metric) => {
    const place = make("td", {class: "number"}, written(cols[metric.key][row], metric));
    const ends = interval(row, metric);
    if (ends) place.append(" ", make("small", {}, ends));
    return place;
  }), ...(several ? [make("td", {class: "name"}, placeOf(row))] : []), make("td", {class: "world"}, data.worlds[cols.world[row]] || NONE), make("td", {class: "note-cell"}, noteOf(row)));
}
function methodText(row) {
  const map = data.maps[cols.map[row]];
  return map && map !== methodOf(row) ? `${methodOf(row)} (${map})` : methodOf(row);
}
function noteOf(row) {
  const state = stateOf(row) === "done" ? (cols.same_seed[row] ? "same seed" : "") : stateOf(row);
  return [state, reasonOf(row)].filter(Boolean).join(": ");
}

function fill(focused = false) {
  const body = byId("cells-body"), start = table.page * PAGE_ROWS, shown = table.order.slice(start, start + PAGE_ROWS);
  body.replaceChildren(...shown.map((row, i) => {
    const line = make("tr", {tabindex: i === table.focus ? "0" : "-1", "aria-selected": String(row === page.chosen)}, ...cellsOf(row));
    line.dataset.row = row;
    return line;
  }));
  const total = table.order.length, pages = Math.max(1, Math.ceil(total / PAGE_ROWS));
  byId("where").textContent = total ? `${start + 1}–${start + shown.length} of ${total.toLocaleString("en")} cells` : "no cell matches";
  byId("previous").disabled = table.page === 0;
  byId("next").disabled = table.page >= pages - 1;
  if (focused && body.rows[table.focus]) body.rows[table.focus].focus();
}
function turn(by) {
  const pages = Math.max(1, Math.ceil(table.order.length / PAGE_ROWS));
  const target = Math.min(pages - 1, Math.max(0, table.page + by));
  const turned = target !== table.page;
  table.page = target;
  return turned;
}
function tableKey(event) {
  const body = byId("cells-body"), last = body.rows.length - 1;
  if (event.key === "Enter" || event.key === " ") {
    if (event.target.dataset.row) choose(Number(event.target.dataset.row));
  } else if (event.key === "ArrowDown") {
    if (table.focus < last) table.focus += 1;
    else if (turn(1)) table.focus = 0;
    fill(true);
  } else if (event.key === "ArrowUp") {
    if (table.focus > 0) table.focus -= 1;
    else if (turn(-1)) table.focus = PAGE_ROWS - 1;
    fill(true);
  } else if (event.key === "PageDown" || event.key === "PageUp") {
    if (turn(event.key === "PageDown" ? 1 : -1)) table.focus = 0;
    fill(true);
  } else return;
  event.preventDefault();
}

function cellTable() {
  const numbers = data.metrics.map((metric) => [metric.key, metric.label, "number"]);
  const [encoder, controller, method, world] = SIDES.map((key) => [key, key, ""]);
  const heads = [encoder, controller, method, ...numbers, ...(several ? [["place", "measured in", ""]] : []), world];
  const line = byId("cells-head");
  for (const [key, label, kind] of heads) {
    const button = make("button", {type: "button"}, label, make("span", {class: "arrow", "aria-hidden": "true"}));
    const head = make("th", {scope: "col", "aria-sort": "none", class: kind}, button);
    head.dataset.key = key;
    button.addEventListener("click", () => {
      table.rising = table.key === key ? !table.rising : true;
      table.key = key;
      for (const other of line.children) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", table.rising ? "ascending" : "descending");
      select();
    });
    line.append(head);
  }
  line.append(make("th", {scope: "col"}, "note"));
  data.methods.forEach((name, index) => option(byId("only-method"), String(index), name));
  data.places.forEach((place, index) => option(byId("only-place"), String(index), place));
  byId("only-place").parentElement.hidden = !several;
  byId("search").addEventListener("input", select);
  for (const id of ["only-method", "only-place", "only-kind"]) byId(id).addEventListener("change", select);
  byId("previous").addEventListener("click", () => { turn(-1); table.focus = 0; fill(); });
  byId("next").addEventListener("click", () => { turn(1); table.focus = 0; fill(); });
  byId("cells-body").addEventListener("keydown", tableKey);
  byId("cells-body").addEventListener("click", (event) => {
    const line = event.target.closest("tr");
    table.focus = line.sectionRowIndex;
    choose(Number(line.dataset.row));
  });
  page.listeners.push(() => {
    for (const each of byId("cells-body").rows) each.setAttribute("aria-selected", String(Number(each.dataset.row) === page.chosen));
  });
  select();
}
