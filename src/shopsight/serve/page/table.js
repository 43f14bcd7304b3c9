// Many photos: a row each, and a file for a spreadsheet.

import { answerText, element, percent } from "./cards.js";

export function row(name, url, prediction) {
  const [first, second] = prediction.labels;
  const said = prediction.error ? "error" : prediction.unknown ? "unknown" : "";
  return element(
    "tr",
    {},
    element("td", {}, element("img", { src: url, alt: "" })),
    element("th", { scope: "row" }, name),
    element("td", { className: said }, answerText(prediction)),
    element("td", { className: "number" }, first ? percent(first.probability) : ""),
    element("td", {}, second ? `${second.label} (${percent(second.probability)})` : ""),
  );
}

// A spreadsheet takes a cell that begins so for a formula, and runs it.
const FORMULA = /^[=+\-@\t\r]/;

function cell(value) {
  let text = String(value ?? "");
  if (FORMULA.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csv(results) {
  const lines = [["file", "label", "probability", "unknown", "error"]];
  for (const { name, prediction } of results) {
    const first = prediction.labels[0];
    lines.push([
      name,
      prediction.error || prediction.unknown ? "" : prediction.predicted.join("|"),
      first ? first.probability : "",
      prediction.unknown ? "yes" : "",
      prediction.error ? prediction.error.what : "",
    ]);
  }
  // With a mark of its encoding, which spreadsheets look for.
  return `\ufeff${lines.map((line) => line.map(cell).join(",")).join("\r\n")}\r\n`;
}

export function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  const link = element("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  URL.revokeObjectURL(url);
}
