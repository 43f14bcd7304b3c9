// The form for a key, which both pages show where the service asks for one.

import { keepKey } from "./api.js";

const form = document.getElementById("key-form");
const field = document.getElementById("key");

export function askForKey() {
  form.hidden = false;
  field.focus();
}

export function hideKeyForm() {
  form.hidden = true;
}

// Do `work` with each key that is given.
export function onKey(work) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    keepKey(field.value);
    field.value = "";
    work();
  });
}
