// The chosen cell: all its figures, the same two agents under the other methods, its film and its latents.
function fact(list, name, ...value) {
  list.append(make("dt", {}, name), make("dd", {}, ...value));
}
function film(row) {
  const entry = data.films.find((each) => each.row === row);
  if (!entry) return null;
  const source = `data:video/mp4;base64,${byId(entry.id).textContent}`;
  const label = `Film: ${agentOf("encoder", row)} → ${agentOf("controller", row)}, ${methodOf(row)}`;
  const video = make("video", {controls: "", muted: "", loop: "", playsinline: "", "aria-label": label, src: source});
  video.muted = true;
  return make("figure", {}, video, make("figcaption", {}, entry.caption));
}
function others(row) {
  const rows = [];
  for (let method = 0; method < data.methods.length; method += 1) {
    const other = heat.at[(method * N + cols.encoder[row]) * N + cols.controller[row]];
    if (other >= 0 && other !== row) rows.push(other);
  }
  return rows;
}
// The same two agents under the same method in other worlds.
function elsewhere(row) {
  const alike = (other) => ["encoder", "controller", "method"].every((side) => cols[side][other] === cols[side][row]);
  return [...cols.place.keys()].filter((other) => other !== row && several && alike(other));
}
function steps(rows, text, called) {
  const buttons = rows.map((other) => {
    const value = written(cols[heat.figure.key][other], heat.figure);
    const button = make("button", {type: "button"}, `${called(other)}: ${value}`);
    button.addEventListener("click", () => choose(other));
    return button;
  });
  return buttons.length ? [make("p", {class: "alike"}, `${text}, ${heat.figure.label} `, ...buttons)] : [];
}
function showCell(row) {
  const list = make("dl", {}), done = stateOf(row) === "done";
  if (data.maps[cols.map[row]] !== methodOf(row) && data.maps[cols.map[row]]) fact(list, "map", data.maps[cols.map[row]]);
  if (several) fact(list, "played in", placeOf(row));
  if (data.worlds[cols.world[row]]) fact(list, "world", data.worlds[cols.world[row]]);
  if (noteOf(row)) fact(list, "note", noteOf(row));
  if (done) {
    for (const figure of data.figures) {
      const ends = interval(row, figure);
      fact(list, figure.label, written(cols[figure.key][row], figure), ...(ends ? [" ", make("small", {}, ends)] : []));
    }
    const plain = figures.get("return_mean");
    if (plain && cols.native_return[row] !== null) fact(list, "native return", written(cols.native_return[row], plain));
    if (plain && cols.random_return[row] !== null) fact(list, "random return", written(cols.random_return[row], plain));
    if (cols.episodes[row] !== null) fact(list, "episodes", String(cols.episodes[row]));
  }
  const parts = [list];
  const moving = film(row);
  if (moving) parts.push(moving);
  const drawn = data.latents.find((entry) => entry.row === row);
  if (drawn) parts.push(make("p", {}, make("a", {href: `#${drawn.id}`}, "Its latents before and after")));
  parts.push(...steps(others(row), "Other methods", methodText), ...steps(elsewhere(row), "Other worlds", placeOf));
  byId("cell").replaceChildren(...parts);
  byId("cell-title").textContent = `${agentOf("encoder", row)} → ${agentOf("controller", row)}, ${methodOf(row)}${inPlace(row)}`;
  byId("cell-box").open = true;
}

function begin() {
  heatMaps(); // first, so that they show the chosen cell's world when its neighbours are looked up
  page.listeners.push(showCell);
  tableParts();
  scatterParts();
  document.documentElement.classList.add("ready");
  byId("cell-box").open = window.innerWidth >= 1100; // beside the figures; below that it lies over their foot
  drawings.forEach((draw) => draw());
  const row = rowOfAddress();
  if (row >= 0) choose(row);
}
begin();
