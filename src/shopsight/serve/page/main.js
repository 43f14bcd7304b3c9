// The page: photos in, by choice, drop, paste or camera; answers out.

import { Refusal, about, predict, search } from "./api.js";
import { card, itemList } from "./cards.js";
import { askForKey, hideKeyForm, onKey } from "./key_form.js";
import { csv, download, row } from "./table.js";

const MOST_CARDS = 6; // More photos than this become a table.
const AT_ONCE = 8;

const find = (id) => document.getElementById(id);
const status = (text) => {
  find("status").textContent = text;
};

let service = null;
let urls = [];
let results = [];
let keyWasGiven = false;
let turn = 0; // Answers to what was asked before the last question are not shown.

async function start() {
  try {
    service = await about();
  } catch (error) {
    if (error.status === 401 || error.status === 403) {
      find("about").textContent = keyWasGiven
        ? "That is not the key of this service."
        : "The service asks for a key.";
      askForKey();
      return;
    }
    find("about").textContent = error.message;
    return;
  }
  hideKeyForm();
  const { model, index, limits } = service;
  const parts = [];
  if (model) parts.push(`${model.name}: ${model.num_labels.toLocaleString("en")} labels`);
  if (index) parts.push(`${index.size.toLocaleString("en")} products to compare with`);
  find("about").textContent = parts.join("; ") || "The service has no model.";
  find("limits").textContent =
    `Up to ${Math.round(limits.body_bytes / 1e6)} MB at once; ${limits.formats.join(", ")}.`;
  find("explain-choice").hidden = !(model && model.explains);
  find("words").hidden = !(index && index.by_text);
}

function clear() {
  for (const url of urls) URL.revokeObjectURL(url);
  urls = [];
  results = [];
  find("cards").replaceChildren();
  find("rows").replaceChildren();
  find("table-view").hidden = true;
  turn += 1;
  return turn;
}

function batches(files) {
  const most = service ? service.limits.body_bytes * 0.9 : 18e6;
  const found = [];
  let some = [];
  let bytes = 0;
  for (const file of files) {
    if (some.length && (some.length === AT_ONCE || bytes + file.size > most)) {
      found.push(some);
      some = [];
      bytes = 0;
    }
    some.push(file);
    bytes += file.size;
  }
  if (some.length) found.push(some);
  return found;
}

async function answers(files, explain) {
  try {
    return await predict(files, { explain });
  } catch (error) {
    if (!(error instanceof Refusal) || error.status === 401 || error.status === 0) throw error;
    if (files.length === 1) {
      return [{ labels: [], predicted: [], unknown: null, map: null, error: { what: error.message } }];
    }
    // One of them may be too large: each has its own answer.
    const each = [];
    for (const file of files) each.push(...(await answers([file], explain)));
    return each;
  }
}

async function show(files) {
  const images = [...files];
  if (!images.length) return;
  const own = clear();
  const asTable = images.length > MOST_CARDS;
  find("table-view").hidden = !asTable;
  find("csv").disabled = true;
  try {
    for (const some of batches(images)) {
      status(`${results.length} of ${images.length} photos labeled…`);
      const found = await answers(some, find("explain").checked && !asTable);
      if (own !== turn) return;
      for (const [at, file] of some.entries()) await add(file, found[at], asTable, own);
    }
  } catch (error) {
    if (error.status === 401 || error.status === 403) askForKey();
    status(error.message);
    return;
  }
  find("csv").disabled = false;
  const failed = results.filter(({ prediction }) => prediction.error).length;
  const unknown = results.filter(({ prediction }) => prediction.unknown).length;
  const notes = [
    failed ? `${failed} could not be read` : "",
    unknown ? `${unknown} of none of the known labels` : "",
  ].filter(Boolean);
  const photos = results.length === 1 ? "1 photo" : `${results.length} photos`;
  status(`${photos} labeled${notes.length ? `: ${notes.join(", ")}` : ""}.`);
  if (!asTable) find("results").focus({ preventScroll: false });
}

async function add(file, prediction, asTable, own) {
  const name = file.name || "pasted photo";
  const url = URL.createObjectURL(file);
  urls.push(url);
  results.push({ name, prediction });
  if (asTable) {
    find("rows").append(row(name, url, prediction));
    return;
  }
  const shown = card(name, url, prediction);
  find("cards").append(shown);
  if (!service.index || prediction.error) return;
  try {
    const items = await search({ file });
    if (own === turn) shown.lastElementChild.append(itemList(items, "Similar products"));
  } catch (error) {
    shown.lastElementChild.append(itemList([], `No similar products: ${error.message}`));
  }
}

async function searchWords(event) {
  event.preventDefault();
  const own = clear();
  const text = find("text").value.trim();
  if (!text) return;
  status("Searching…");
  try {
    const items = await search({ text, top: 24 });
    if (own !== turn) return;
    find("cards").append(itemList(items, `Products for “${text}”`));
    status(items.length === 1 ? "1 product." : `${items.length} products.`);
  } catch (error) {
    status(error.message);
  }
}

function takeDrops() {
  const zone = find("drop");
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  for (const name of ["dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.remove("over");
    });
  }
  document.addEventListener("drop", (event) => show(event.dataTransfer.files));
  document.addEventListener("paste", (event) => show(event.clipboardData.files));
}

for (const id of ["files", "camera"]) {
  const input = find(id);
  input.addEventListener("change", async () => {
    await show(input.files);
    input.value = ""; // The same file may be chosen again.
  });
  // The input is hidden: its label shows where the focus is.
  const label = document.querySelector(`label[for="${id}"]`);
  input.addEventListener("focus", () => label.classList.add("focused"));
  input.addEventListener("blur", () => label.classList.remove("focused"));
}
find("csv").addEventListener("click", () => download("labels.csv", csv(results)));
find("search-form").addEventListener("submit", searchWords);
onKey(() => {
  keyWasGiven = true;
  start();
});
takeDrops();
start();
