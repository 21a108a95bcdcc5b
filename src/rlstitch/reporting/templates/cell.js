// The chosen cell: all its metrics, the same two agents under the other methods, its video and its latents.
function fact(list, name, ...value) {
  list.append(make("dt", {}, name), make("dd", {}, ...value));
}
function video(row) {
  const entry = data.videos.find((each) => each.row === row);
  if (!entry) return [];
  const source = `data:video/mp4;base64,${byId(entry.id).textContent}`;
  const player = make("video", {controls: "", loop: "", playsinline: "", "aria-label": `Video: ${pairOf(row)}`, src: source});
  player.muted = true;
  player.autoplay = !window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  return [make("figure", {}, player, make("figcaption", {}, entry.caption))];
}
// Cells that differ from a cell in their method alone, or in their world alone.
function alike(row, differing) {
  const same = ["encoder", "controller", "method", "place"].filter((side) => side !== differing);
  return [...cols.place.keys()].filter((other) => other !== row && same.every((side) => cols[side][other] === cols[side][row]));
}
function links(rows, text, name) {
  const buttons = rows.map((other) => {
    const button = make("button", {type: "button"}, `${name(other)}: ${written(cols[heat.metric.key][other], heat.metric)}`);
    button.addEventListener("click", () => choose(other));
    return button;
  });
  return buttons.length ? [make("p", {class: "alike"}, `${text}, ${heat.metric.label} `, ...buttons)] : [];
}
// A name that leads to the cells of its agent, in the table.
function agentLink(side, row) {
  const button = make("button", {type: "button"}, agentOf(side, row));
  button.addEventListener("click", () => {
    byId("search").value = agentOf(side, row);
    select();
    byId("cells-title").scrollIntoView();
  });
  return button;
}
function commands(row) {
  const text = data.commands[cols.commands[row]].replace(/ENCODER|CONTROLLER/g, (side) => agentOf(side.toLowerCase(), row));
  return text.split("\n").filter(Boolean);
}
function showCell(row) {
  const list = make("dl");
  for (const side of ["encoder", "controller"]) fact(list, side, agentLink(side, row));
  if (methodText(row) !== methodOf(row)) fact(list, "map", data.maps[cols.map[row]]);
  if (several) fact(list, "measured in", placeOf(row));
  if (data.worlds[cols.world[row]]) fact(list, "world", data.worlds[cols.world[row]]);
  if (noteOf(row)) fact(list, "note", noteOf(row));
  if (stateOf(row) === "done") {
    for (const metric of data.metrics) {
      const ends = interval(row, metric);
      fact(list, metric.label, written(cols[metric.key][row], metric), ...(ends ? [" ", make("small", {}, ends)] : []));
    }
    const plain = metrics.get("return_mean");
    for (const name of ["native", "random"]) {
      const value = cols[`${name}_return`][row];
      if (plain && value !== null) fact(list, `${name} return`, written(value, plain));
    }
    if (cols.episodes[row] !== null) fact(list, "episodes", String(cols.episodes[row]));
  }
  const latents = data.latents.filter((entry) => entry.row === row);
  byId("cell").replaceChildren(
    list, ...video(row),
    ...latents.map((entry) => make("p", {}, make("a", {href: `#${entry.id}`}, "Its latents before and after"))),
    ...commands(row).map((text) => make("pre", {}, make("code", {}, text))),
    ...links(alike(row, "method"), "Other methods", methodText), ...links(alike(row, "place"), "Other worlds", placeOf),
  );
  byId("cell-title").textContent = pairOf(row);
}

// Points of the diagnostics: those of a method are in the order of its rows. Plots of many points are images without any.
function points() {
  for (const plots of document.querySelectorAll(".diagnostics")) {
    for (const {fit, outcome} of data.scatters) {
      for (const method of data.methods.keys()) {
        const group = byId(`scatter-${plots.dataset.place}-${fit}-${method}`);
        const rows = [...cols.place.keys()].filter((row) => cols.place[row] === Number(plots.dataset.place)
          && cols.method[row] === method && cols[fit][row] !== null && cols[outcome][row] !== null);
        if (group) group.querySelectorAll("g > use").forEach((point, index) => { point.dataset.row = rows[index]; });
      }
    }
    const readout = plots.appendChild(make("output", {class: "readout", "aria-live": "polite"}));
    plots.addEventListener("mouseover", ({target}) => { readout.textContent = target.dataset.row ? sentence(Number(target.dataset.row)) : ""; });
    plots.addEventListener("click", ({target}) => { if (target.dataset.row) choose(Number(target.dataset.row)); });
  }
  page.listeners.push((row) => {
    for (const point of document.querySelectorAll(".diagnostics .chosen")) point.classList.remove("chosen");
    for (const point of document.querySelectorAll(`.diagnostics [data-row="${row}"]`)) point.classList.add("chosen");
  });
}

heatMaps(); // first, so that they show the world of the chosen cell when its neighbours are looked up
page.listeners.push(showCell);
cellTable();
points();
document.documentElement.classList.add("ready");
byId("cell-box").open = window.innerWidth >= 1100; // beside the tables; on narrower screens it covers their foot
if (rowOfAddress() >= 0) choose(rowOfAddress());
else if (data.worst !== null) show(data.worst);
