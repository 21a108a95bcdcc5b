const at = (id) => document.getElementById(id);
const socket = new WebSocket(`ws://${location.host}/live${location.search}`);
const ask = (command) => socket.send(JSON.stringify(command));
const state = { playing: true };

const settings = ({ playing, encoder, method, look, sensor, seed, greedy, speed }) => {
  state.playing = playing;
  at("pause").textContent = playing ? "Pause" : "Play";
  at("pause").dataset.do = playing ? "pause" : "play";
  for (const [id, value] of Object.entries({ encoder, method, look, seed, greedy, speed })) {
    if (at(id) !== state.typing) at(id).value = String(value);
  }
  const own = encoder === at("encoder").options[0].value;
  at("method").disabled = own;
  at("look").disabled = sensor !== "pixels";
  at("parts").textContent = own ? "Its own encoder." : `Encoder of ${encoder}, joined by ${method}.`;
};

const draw = (numbers) => {
  const most = Math.max(...numbers.map(Math.abs), 1e-6);
  at("vector").setAttribute("viewBox", `0 -1 ${numbers.length} 2`);
  at("vector").querySelector(".zero").setAttribute("d", `M0 0H${numbers.length}`);
  const bars = numbers.map((number, i) => `M${i + 0.1} 0V${-number / most}H${i + 0.9}V0Z`);
  at("vector").querySelector(".values").setAttribute("d", bars.join(""));
  at("range").textContent = `: ${numbers.length} numbers, −${most.toPrecision(3)} to ${most.toPrecision(3)}`;
};

const bars = (list) => {
  while (at("bars").rows.length > list.length) at("bars").deleteRow(-1);
  list.forEach((bar, i) => {
    let row = at("bars").rows[i];
    if (!row) {
      row = at("bars").insertRow();
      const name = row.appendChild(document.createElement("th"));
      name.scope = "row";
      row.insertCell().appendChild(document.createElement("progress"));
      row.insertCell().className = "number";
    }
    const [name, value, text] = row.cells;
    name.textContent = bar.name;
    value.firstChild.value = (bar.value - bar.low) / (bar.high - bar.low);
    value.firstChild.setAttribute("aria-label", bar.name);
    text.textContent = bar.text;
    row.classList.toggle("chosen", bar.chosen);
  });
};

const moment = (now) => {
  at("frame").closest("figure").hidden = !now.frame;
  if (now.frame) at("frame").src = now.frame;
  at("seen").hidden = !now.seen;
  if (now.seen) at("seen").src = now.seen;
  at("vector").toggleAttribute("hidden", !now.vector);
  if (now.vector) draw(now.vector);
  else at("range").textContent = "";
  for (const id of ["return", "steps", "episode", "outcome"]) {
    if (at(id).textContent !== String(now[id])) at(id).textContent = now[id];
  }
  bars(now.bars);
};

const progress = ({ text, done, total }) => {
  at("work").hidden = !text;
  at("stage").textContent = text;
  if (total) at("done").value = done / total;
  else at("done").removeAttribute("value");
};

const fail = (text) => {
  at("error").hidden = !text;
  at("error").textContent = text;
};

const handlers = { settings, moment, progress, error: ({ text }) => fail(text) };
socket.addEventListener("message", ({ data }) => {
  const message = JSON.parse(data);
  handlers[message.kind](message);
});
socket.addEventListener("close", () => {
  if (at("error").hidden) fail("The connection is closed: rlstitch watch has ended, or the page is too old.");
  for (const field of at("controls").elements) field.disabled = true;
});

at("controls").addEventListener("submit", (event) => event.preventDefault());
for (const button of document.querySelectorAll("[data-do]")) {
  button.addEventListener("click", () => ask({ do: button.dataset.do }));
}
const values = { seed: Number, speed: Number, greedy: (text) => text === "true" };
for (const id of ["encoder", "method", "look", "seed", "speed", "greedy"]) {
  at(id).addEventListener("focus", () => (state.typing = id === "look" || id === "seed" ? at(id) : null));
  at(id).addEventListener("blur", () => (state.typing = null));
  at(id).addEventListener("change", ({ target }) => {
    state.typing = null;
    if (!target.reportValidity()) return;
    fail("");
    ask({ do: "set", [id]: (values[id] ?? String)(target.value) });
  });
}
document.documentElement.classList.add("ready");
