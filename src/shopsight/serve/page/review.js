// The review desk: a grid of one suggestion, all selected; click the wrong ones away, accept.

import { ask, keepKey } from "./api.js";
import { element, percent } from "./cards.js";
import { askForKey, hideKeyForm, onKey } from "./key_form.js";
import { download } from "./table.js";

const find = (id) => document.getElementById(id);
const DEFAULT_KEYS = { accept: "Enter", later: "n", undo: "u" };
const TITLES = { accept: "Accept", later: "Another class", undo: "Undo" };
const WORDS = { yes: "selected", not: "not this", drop: "left out" };
const LATER = { yes: "not", not: "yes", drop: "yes" };
// Of copies, one that is not kept is left out.
const LATER_OF_COPIES = { yes: "drop", not: "yes", drop: "yes" };
// Where a person says the label.
const TYPED = ["conflicting", "alike", "left", "blind"];
// What a queue asks, and what helps to answer; the others ask for the suggested class.
const ASKS = {
  blind: ["What is this?", "No suggestion is shown: what you say measures the labels."],
  left: ["Of no suggested class: what are these?", "Click away those that are not of the label that you type."],
  alike: ["Alike, and without a label: what are these?", "Click away those that are not of the label that you type."],
  conflicting: ["The same photo with several labels: which is right?", "Those that are selected get the label below."],
};

let queue = "doubtful";
let shown = { label: "", images: [] };
let skip = [];
let busy = false;

const stored = (name, otherwise) => JSON.parse(localStorage.getItem(name) ?? "null") ?? otherwise;
const store = (name, value) => localStorage.setItem(name, JSON.stringify(value));
let keys = stored("shopsight-keys", DEFAULT_KEYS);

async function json(path, body) {
  const options = body
    ? { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }
    : {};
  return (await ask(path, options)).json();
}

// One thing at a time, each in its turn. Only what answers for the screen is dropped while another
// thing is done: a second Enter must not accept a screen that nobody has seen.
let running = Promise.resolve();

function guarded(work) {
  if (busy && (work === accept || work === later)) return running;
  running = running.then(() => alone(work));
  return running;
}

async function alone(work) {
  busy = true;
  // What is typed now would be lost with the next screen.
  find("name").readOnly = true;
  try {
    await work();
  } catch (error) {
    if (error.status === 401) askForKey();
    find("progress").textContent = error.message;
  } finally {
    busy = false;
    find("name").readOnly = false;
  }
}

function choose(name) {
  queue = name;
  for (const button of document.querySelectorAll("nav button")) {
    button.setAttribute("aria-pressed", String(button.dataset.queue === name));
  }
}

function showState({ counts, score, labels }) {
  find("progress").textContent =
    `${counts.decided.toLocaleString("en")} of ${counts.images.toLocaleString("en")} photos decided.`;
  for (const button of document.querySelectorAll("nav button")) {
    const count = counts[button.dataset.queue];
    const left = count === undefined ? score.of - score.images : count;
    // A list that has nothing is not offered, unless somebody looks at it.
    const isOpen = button.getAttribute("aria-pressed") === "true";
    button.hidden = !left && !isOpen && button.dataset.queue !== "blind";
    button.querySelector("span").textContent = `(${left.toLocaleString("en")})`;
  }
  find("labels").replaceChildren(...labels.map((label) => element("option", { value: label })));
  if (score.images) {
    find("score").textContent =
      `${percent(score.share)} of ${score.images} photos that were labeled blind have this label ` +
      `now (95 % interval ${percent(score.low)} to ${percent(score.high)}); ` +
      `${score.more_to_halve} more would halve the interval.`;
  }
}

function tile(image) {
  const mark = element("span", { className: "mark" }, WORDS.yes);
  const notes = [image.given ? `now: ${image.given}` : ""].filter(Boolean);
  const button = element(
    "button",
    { type: "button" },
    image.image ? element("img", { src: image.image, alt: `photo ${image.id}` }) : image.id,
    mark,
    notes.length ? element("span", {}, ` · ${notes.join(" · ")}`) : "",
  );
  button.dataset.id = image.id;
  const become = (state) => {
    button.dataset.state = state;
    button.setAttribute("aria-pressed", String(state === "yes"));
    mark.textContent = WORDS[state];
  };
  become(image.mark ?? "yes");
  const next = queue === "duplicates" ? LATER_OF_COPIES : LATER;
  button.addEventListener("click", () => become(next[button.dataset.state]));
  button.addEventListener("keydown", (event) => {
    if (event.key !== "Delete") return;
    event.preventDefault();
    become(button.dataset.state === "drop" ? "yes" : "drop");
  });
  return element("li", {}, button);
}

function showScreen() {
  const { label, images } = shown;
  const typed = TYPED.includes(queue);
  find("name-form").hidden = !typed || !images.length;
  find("name").value = typed ? label : "";
  find("grid").className = queue === "blind" ? "one" : "";
  find("grid").replaceChildren(...images.map(tile));
  find("accept").disabled = !images.length;
  find("later").hidden = typed && queue !== "conflicting";
  if (!images.length) {
    find("question").textContent = skip.length ? "Nothing else here." : "Nothing is left here.";
    find("help").textContent = skip.length ? "Some classes were passed over: choose this list anew." : "";
    return;
  }
  if (typed) {
    [find("question").textContent, find("help").textContent] = ASKS[queue];
    find("name").focus();
    return;
  }
  if (queue === "duplicates") {
    find("question").textContent = `The same photo of “${label}” several times: keep one?`;
    find("help").textContent = `Click to keep another; ${keys.accept} leaves out those that are marked so.`;
  } else {
    find("question").textContent = `Are these all “${label}”?`;
    find("help").textContent = `Click away what is not; ${keys.accept} accepts the others.`;
  }
  find("screen").focus({ preventScroll: true });
}

async function load() {
  if (queue === "blind") {
    const { image } = await json("v1/review/blind");
    shown = { label: "", images: image ? [image] : [] };
  } else {
    const skipped = skip.map((label) => `&skip=${encodeURIComponent(label)}`).join("");
    shown = await json(`v1/review/screen?queue=${queue}${skipped}`);
  }
  showScreen();
}

async function accept() {
  const reviewer = find("reviewer").value.trim();
  const typed = TYPED.includes(queue);
  const label = typed ? find("name").value.trim() : shown.label;
  const by = { yes: [], not: [], drop: [] };
  for (const button of find("grid").querySelectorAll("button")) {
    by[button.dataset.state].push(button.dataset.id);
  }
  if (typed && !label && by.yes.length) {
    find("progress").textContent = "Type a label first.";
    find("name").focus();
    return;
  }
  if (queue === "blind") {
    showState(await json("v1/review/blind", { id: shown.images[0].id, label, reviewer }));
  } else {
    const declined = typed ? [] : by.not;
    const decided = { label, accepted: by.yes, declined, dropped: by.drop, reviewer };
    showState(await json("v1/review/decide", decided));
  }
  await load();
}

async function undo() {
  const state = await json("v1/review/undo", { reviewer: find("reviewer").value.trim() });
  showState(state);
  if (!state.undone) find("progress").textContent = "Nothing of yours to undo.";
  await load();
}

async function later() {
  skip.push(shown.label);
  await load();
}

// A training is asked about as long as it runs.
function showTraining({ state, run, lines, seconds, score, serve }) {
  if (state === "none") return;
  const took = `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const results = score
    ? ` ${percent(score.value)} right on ${score.images} ${score.part} photos` +
      (score.low === null ? "." : ` (95 % interval ${percent(score.low)} to ${percent(score.high)}).`)
    : "";
  find("training").textContent = {
    running: `Training ${run}: ${took}.`,
    done: `${run} is trained.${results} Serve it: ${serve}`,
    failed: `${run} was not trained:`,
  }[state];
  find("training-log").textContent = lines.join("\n");
  find("training-log").hidden = !lines.length || state === "done";
  find("train").disabled = state === "running";
  if (state === "running") setTimeout(watchTraining, 2000);
}

async function watchTraining() {
  try {
    showTraining(await json("v1/review/training"));
  } catch (error) {
    find("training").textContent = error.message;
  }
}

async function train() {
  showTraining(await json("v1/review/training", { recipe: find("recipe").value }));
}

const ACTIONS = { accept, later, undo };

function showKeys() {
  find("keys").replaceChildren(
    ...Object.keys(ACTIONS).map((action) => {
      const input = element("input", { value: keys[action], readOnly: true });
      input.setAttribute("aria-label", `Key for ${TITLES[action]}`);
      input.addEventListener("keydown", (event) => {
        if (event.key === "Tab") return;
        event.preventDefault();
        event.stopPropagation();
        keys = { ...keys, [action]: event.key };
        store("shopsight-keys", keys);
        showKeys();
      });
      return element(
        "tr",
        {},
        element("th", { scope: "row" }, TITLES[action]),
        element("td", {}, input),
      );
    }),
  );
}

document.addEventListener("keydown", (event) => {
  if (!find("shortcuts").checked || event.ctrlKey || event.metaKey || event.altKey) return;
  const inText = event.target.matches("input, select, summary, a, nav button, #actions button, #train");
  const isTyped = event.target.id === "name" && event.key === "Enter";
  if (inText && !isTyped) return;
  // After a label was typed, Enter is its end, whatever the keys are.
  const action = isTyped ? "accept" : Object.keys(ACTIONS).find(
    (name) => keys[name].toLowerCase() === event.key.toLowerCase(),
  );
  // On a photo, Enter accepts the screen and Space takes the photo away.
  if (!action || event.repeat) return;
  event.preventDefault();
  guarded(ACTIONS[action]);
});
for (const [action, work] of Object.entries(ACTIONS)) {
  find(action).addEventListener("click", () => guarded(work));
}
for (const button of document.querySelectorAll("nav button")) {
  button.addEventListener("click", () =>
    guarded(async () => {
      choose(button.dataset.queue);
      skip = [];
      await load();
    }),
  );
}
find("train").addEventListener("click", () => guarded(train));
find("csv").addEventListener("click", (event) => {
  event.preventDefault();
  guarded(async () =>
    download("decisions.csv", await (await ask("v1/review/decisions.csv")).text()),
  );
});
find("name-form").addEventListener("submit", (event) => event.preventDefault());
find("reviewer").value = stored("shopsight-reviewer", "");
find("reviewer").addEventListener("change", () => store("shopsight-reviewer", find("reviewer").value));
find("shortcuts").checked = stored("shopsight-shortcuts", true);
find("shortcuts").addEventListener("change", () =>
  store("shopsight-shortcuts", find("shortcuts").checked),
);

const start = () =>
  guarded(async () => {
    const state = await json("v1/review/state");
    hideKeyForm();
    // Begin where there is something to do.
    const first = ["doubtful", "conflicting", "unlabeled", "uncertain", "left"].find((one) => state.counts[one]);
    if (first) choose(first);
    showState(state);
    await load();
    await watchTraining();
  });
onKey(start);
// A key in the address is the part after "#", which no browser sends: it is taken and removed.
const inAddress = new URLSearchParams(location.hash.slice(1)).get("key");
if (inAddress) {
  keepKey(inAddress);
  history.replaceState(null, "", location.pathname);
}
showKeys();
start();
