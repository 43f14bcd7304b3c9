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

// A spreadsheet runs a cell that begins so: the rule of `shopsight.spreadsheets`, and a test
// compares both. Wide characters of East Asian keyboards begin formulas too; blanks, quotes and
// what is not seen are passed over; with another separator a cell may begin within a text.
const BEGINS = "[=+\\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b]";
const SKIPPED =
  "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x20\\x7f-\\xa0'\"`\u2018\u2019\u201c\u201d" +
  "\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]*";
const FORMULA = new RegExp(`^${SKIPPED}${BEGINS}|^'*[\\t\\r\\n]`);
const WITHIN = new RegExp(`([;\\t\\r\\n])(${SKIPPED}${BEGINS})`, "g");
const NUMBER = /^[-+]?[0-9.,]*$/;

export function guardedText(text) {
  const within = text.replace(WITHIN, "$1'$2");
  return FORMULA.test(within) && !NUMBER.test(within) ? `'${within}` : within;
}

function cell(value) {
  const text = guardedText(String(value ?? ""));
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
