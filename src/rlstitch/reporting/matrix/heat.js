// Heat maps: one canvas a method. Only what its box shows is drawn, so that a hundred agents cost no more than ten.
const heat = {figure: data.figures[0], place: 0, numbers: false, rows: [], columns: [], at: null, printing: false};
const N = data.agents.length;
const SMALLEST = 4, WIDEST = 44, TALLEST = 0.8, PAPER = 640; // pixels a cell; share of the window's height; pixels a sheet

// One world is shown at a time. A native that was played there stands on the diagonal of every map.
heat.at = new Int32Array(data.methods.length * N * N);
function enter(place) {
  heat.place = place;
  heat.at.fill(-1);
  for (let row = rowCount - 1; row >= 0; row -= 1) {
    if (cols.place[row] !== place) continue;
    const native = methodOf(row) === data.unjoined, methods = native ? data.methods.keys() : [cols.method[row]];
    for (const method of methods) heat.at[(method * N + cols.encoder[row]) * N + cols.controller[row]] = row;
  }
}
enter(0);
// What all names begin with is said once, above: on a phone there is no room for it a hundred times.
const shared = data.agents.reduce((start, name) => {
  while (!name.startsWith(start)) start = start.slice(0, start.slice(0, -1).lastIndexOf("-") + 1);
  return start;
}, data.agents.length ? data.agents[0].slice(0, data.agents[0].lastIndexOf("-") + 1) : "");
const label = (agent) => data.agents[agent].slice(shared.length);
const known = (side) => [...new Set(cols[side])].sort((a, b) => a - b);
function meansOf(side) {
  const sums = new Float64Array(N), counts = new Float64Array(N), values = cols[heat.figure.key];
  for (let row = 0; row < rowCount; row += 1) {
    if (values[row] === null || cols.place[row] !== heat.place) continue;
    sums[cols[side][row]] += values[row];
    counts[cols[side][row]] += 1;
  }
  return sums.map((sum, i) => (counts[i] ? sum / counts[i] : -Infinity));
}
function order() {
  [heat.rows, heat.columns] = ["encoder", "controller"].map((side) => {
    const found = known(side);
    if (byId("order").value !== "mean") return found;
    const means = meansOf(side);
    return found.sort((a, b) => means[b] - means[a] || a - b);
  });
}

class HeatMap {
  constructor(method, host) {
    this.method = method;
    this.canvas = make("canvas", {tabindex: "0", role: "application", "aria-roledescription": "heat map"});
    this.spacer = make("div", {class: "spacer"}, this.canvas);
    this.box = make("div", {class: "heat-box"}, this.spacer);
    this.readout = make("output", {class: "readout", "aria-live": "polite"});
    host.append(make("h3", {}, data.methods[method]), this.box, this.readout);
    this.cursor = [0, 0];
    this.box.addEventListener("scroll", () => this.paint());
    this.canvas.addEventListener("mousemove", (event) => this.tell(this.hit(event)));
    this.canvas.addEventListener("mouseleave", () => this.tell(null));
    this.canvas.addEventListener("click", (event) => this.pick(this.hit(event)));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("focus", () => { this.tell(this.cursor); this.paint(); });
    this.canvas.addEventListener("blur", () => this.paint());
  }

  row(place) {
    return heat.at[(this.method * N + heat.rows[place[0]]) * N + heat.columns[place[1]]];
  }

  hit(event) {
    const frame = this.canvas.getBoundingClientRect();
    const x = event.clientX - frame.left, y = event.clientY - frame.top;
    if (x < this.left || y < this.top) return null;
    const place = [Math.floor((y - this.top + this.box.scrollTop) / this.cell), Math.floor((x - this.left + this.box.scrollLeft) / this.cell)];
    return place[0] < heat.rows.length && place[1] < heat.columns.length ? place : null;
  }

  text(place) {
    const row = this.row(place);
    if (row >= 0) return sentence(row);
    const [encoder, controller] = [heat.rows[place[0]], heat.columns[place[1]]];
    if (encoder === controller) {
      const value = data.native[encoder];
      return `${data.agents[encoder]}: the native agent${value === undefined ? "" : `, return ${value}`}`;
    }
    return `${data.agents[encoder]} → ${data.agents[controller]}: no such cell`;
  }

  tell(place) {
    this.readout.textContent = place ? this.text(place) : "";
  }

  pick(place) {
    if (!place) return;
    this.cursor = place;
    this.tell(place);
    if (this.row(place) >= 0) choose(this.row(place));
    this.paint();
  }

  key(event) {
    const steps = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageUp: [-10, 0], PageDown: [10, 0], Home: [0, -N], End: [0, N]};
    if (event.key === "Enter" || event.key === " ") this.pick(this.cursor);
    else if (steps[event.key]) {
      const ends = [heat.rows.length - 1, heat.columns.length - 1];
      this.cursor = this.cursor.map((at, i) => Math.min(ends[i], Math.max(0, at + steps[event.key][i])));
      this.reveal();
      this.tell(this.cursor);
      this.paint();
    } else return;
    event.preventDefault();
  }

  reveal() {
    const {box, cell} = this;
    const along = (at, scroll, room) => Math.min(at * cell, Math.max(scroll, (at + 1) * cell - room));
    box.scrollTop = along(this.cursor[0], box.scrollTop, this.height - this.top);
    box.scrollLeft = along(this.cursor[1], box.scrollLeft, this.width - this.left);
  }

  layout() {
    const context = this.canvas.getContext("2d"), room = heat.printing ? PAPER : this.box.clientWidth;
    context.font = font(11);
    const longest = (list) => Math.max(...list.map((agent) => context.measureText(label(agent)).width)) + 10;
    this.left = Math.min(longest(heat.rows), 0.28 * room, 170);
    this.top = Math.min(longest(heat.columns), 120);
    const fit = (room - this.left - 1) / heat.columns.length;
    const wanted = heat.numbers ? 20 : SMALLEST;
    this.cell = Math.min(WIDEST, Math.max(fit, heat.printing ? 1 : wanted));
    const total = [this.left + heat.columns.length * this.cell + 1, this.top + heat.rows.length * this.cell + 1];
    this.width = Math.min(room, total[0]);
    this.height = heat.printing ? total[1] : Math.min(total[1], Math.max(260, TALLEST * window.innerHeight));
    this.spacer.style.width = `${total[0]}px`;
    this.spacer.style.height = `${total[1]}px`;
    this.box.style.height = `${this.height + (total[0] > room ? 16 : 0)}px`;
    this.canvas.setAttribute("aria-label", `${heat.figure.label} under ${data.methods[this.method]}: ${heat.rows.length} encoders down, `
      + `${heat.columns.length} controllers across. Arrow keys move, Enter chooses a cell.`);
    this.paint();
  }

  paint() {
    const context = sharpen(this.canvas, this.width, this.height), {cell, left, top} = this;
    const [dx, dy] = [left - this.box.scrollLeft, top - this.box.scrollTop];
    const first = [Math.floor(this.box.scrollTop / cell), Math.floor(this.box.scrollLeft / cell)];
    const last = [Math.ceil((this.height - dy) / cell), Math.ceil((this.width - dx) / cell)];
    const rows = [first[0], Math.min(heat.rows.length, last[0])], columns = [first[1], Math.min(heat.columns.length, last[1])];
    context.save();
    context.beginPath();
    context.rect(left, top, this.width - left, this.height - top);
    context.clip();
    context.font = font(Math.min(13, Math.max(9, cell * 0.38)));
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let i = rows[0]; i < rows[1]; i += 1) for (let j = columns[0]; j < columns[1]; j += 1) this.square(context, i, j, dx + j * cell, dy + i * cell);
    this.frames(context, dx, dy);
    context.restore();
    this.labels(context, rows, columns, dx, dy);
  }

  square(context, i, j, x, y) {
    const {cell} = this, gap = cell > 9 ? 1 : 0, row = this.row([i, j]), size = cell - gap;
    const value = row < 0 ? null : cols[heat.figure.key][row];
    let word = NONE, ink = themedNow.soft;
    if (value !== null) {
      const colour = rampColour(shareOf(value * heat.figure.scale, heat.figure));
      context.fillStyle = css(colour);
      context.fillRect(x, y, size, size);
      word = written(value, heat.figure);
      ink = inkOn(colour);
    } else {
      context.fillStyle = themedNow.panel;
      context.fillRect(x, y, size, size);
      const native = row < 0 && heat.rows[i] === heat.columns[j];
      word = native ? "n" : row < 0 ? "" : {refused: "×", missing: "?"}[stateOf(row)] || NONE;
    }
    if (heat.numbers && cell >= 17 && context.measureText(word).width < size) {
      context.fillStyle = ink;
      context.fillText(word, x + size / 2, y + size / 2 + 0.5);
    } else if (value === null && word === "×" && cell > 5) {
      context.strokeStyle = themedNow.line;
      context.beginPath();
      context.moveTo(x + 1, y + 1);
      context.lineTo(x + size - 1, y + size - 1);
      context.stroke();
    }
    if (row >= 0 && cols.same_seed[row] && value !== null && cell > 9) {
      context.fillStyle = ink;
      context.beginPath();
      context.moveTo(x + size, y);
      context.lineTo(x + size, y + size * 0.26);
      context.lineTo(x + size * 0.74, y);
      context.fill();
    }
  }

  frames(context, dx, dy) {
    const frame = (place, colour, width) => {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.strokeRect(dx + place[1] * this.cell, dy + place[0] * this.cell, this.cell, this.cell);
    };
    const {chosen} = page;
    if (chosen >= 0) {
      const place = [heat.rows.indexOf(cols.encoder[chosen]), heat.columns.indexOf(cols.controller[chosen])];
      frame(place, themedNow.page, 5);
      frame(place, themedNow.bad, 3);
    }
    if (document.activeElement === this.canvas) {
      frame(this.cursor, themedNow.page, 5);
      frame(this.cursor, themedNow.text, 2);
    }
  }

  labels(context, rows, columns, dx, dy) {
    const step = Math.ceil(11 / this.cell); // where names would overlap, every second or third is written
    context.font = font(11);
    context.fillStyle = themedNow.text;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (let i = rows[0]; i < rows[1]; i += 1) {
      const y = dy + (i + 0.5) * this.cell;
      if (i % step === 0 && y > this.top) context.fillText(fitted(context, label(heat.rows[i]), this.left - 8), this.left - 5, y);
    }
    context.textAlign = "left";
    for (let j = columns[0]; j < columns[1]; j += 1) {
      const x = dx + (j + 0.5) * this.cell;
      if (j % step !== 0 || x < this.left) continue;
      context.save();
      context.translate(x, this.top - 5);
      context.rotate(-Math.PI / 2);
      context.fillText(fitted(context, label(heat.columns[j]), this.top - 8), 0, 0);
      context.restore();
    }
  }
}

const themedNow = {};
function legend() {
  const canvas = byId("ramp"), context = sharpen(canvas, 160, 12);
  for (let x = 0; x < 160; x += 1) {
    context.fillStyle = css(rampColour(x / 159));
    context.fillRect(x, 0, 1, 12);
  }
  const plain = {...heat.figure, scale: 1};
  byId("ramp-low").textContent = `${heat.figure.label}: ${written(heat.figure.low, plain)}`;
  byId("ramp-high").textContent = written(heat.figure.high, plain);
}
function heatMaps() {
  const joined = [...data.methods.keys()].filter((method) => data.methods[method] !== data.unjoined);
  const maps = joined.map((method) => new HeatMap(method, byId("heat").appendChild(make("figure", {class: "heat"}))));
  const drawAll = () => {
    for (const name of ["page", "panel", "text", "soft", "line", "bad"]) themedNow[name] = themed(`--${name}`);
    heat.figure = figures.get(byId("figure").value);
    heat.numbers = byId("numbers").checked;
    if (heat.place !== Number(byId("place").value)) enter(Number(byId("place").value));
    order();
    legend();
    maps.forEach((map) => map.layout());
  };
  data.figures.forEach((figure) => option(byId("figure"), figure.key, figure.label));
  data.places.forEach((place, index) => option(byId("place"), String(index), place));
  byId("place").parentElement.hidden = !several;
  byId("numbers").checked = Math.max(known("encoder").length, known("controller").length) <= 30;
  byId("heat").classList.toggle("many", N > 30);
  if (shared) byId("shared").textContent = `All names begin with ${shared}`;
  for (const id of ["figure", "order", "numbers", "place"]) byId(id).addEventListener("change", drawAll);
  page.listeners.push((row) => {
    if (cols.place[row] === heat.place) maps.forEach((map) => map.paint());
    else {
      byId("place").value = String(cols.place[row]); // a cell of another world was chosen: show it
      drawAll();
    }
  });
  window.addEventListener("beforeprint", () => { heat.printing = true; drawAll(); });
  window.addEventListener("afterprint", () => { heat.printing = false; drawAll(); });
  drawings.push(drawAll);
}
