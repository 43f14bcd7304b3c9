// One photo and what the model says of it. Names come from others: they are only ever text.

import { picture } from "./api.js";

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

export const percent = (value) =>
  `${(100 * value).toLocaleString("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 })} %`;

export function answerText(prediction) {
  if (prediction.error) return `not read: ${prediction.error.what}`;
  if (prediction.unknown) return "unknown: none of the labels that the model knows";
  return prediction.predicted.join(", ") || "none of its labels";
}

function labels(prediction) {
  const list = element("ol", { className: "labels" });
  for (const { label, probability } of prediction.labels) {
    const bar = element("progress", { max: 1, value: probability });
    bar.setAttribute("aria-hidden", "true");
    list.append(
      element(
        "li",
        {},
        element(
          "span",
          { className: "name" },
          element("span", {}, label),
          element("span", {}, percent(probability)),
        ),
        bar,
      ),
    );
  }
  return list;
}

// The map's cells, 0 to 255, laid over the photo: the more, the warmer and the less clear.
function drawn(map) {
  const canvas = element("canvas", { width: map.width, height: map.height });
  canvas.setAttribute("aria-hidden", "true");
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(map.width, map.height);
  map.cells.flat().forEach((value, at) => {
    pixels.data.set([255, 200 - Math.round(value * 0.75), 0, Math.round(value * 0.65)], 4 * at);
  });
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function whereItLooked(map) {
  const rows = ["top", "middle", "bottom"];
  const columns = ["left", "center", "right"];
  let best = { value: -1, row: 0, column: 0 };
  map.cells.forEach((cells, row) =>
    cells.forEach((value, column) => {
      if (value > best.value) best = { value, row, column };
    }),
  );
  const row = rows[Math.min(2, Math.floor((3 * best.row) / map.height))];
  const column = columns[Math.min(2, Math.floor((3 * best.column) / map.width))];
  return `It looked most at the ${row} ${column} of the photo.`;
}

function aboutMap(map, photo) {
  const button = element("button", { type: "button", className: "second" }, "Map on the photo");
  button.setAttribute("aria-pressed", "true");
  button.addEventListener("click", () => {
    const canvas = photo.querySelector("canvas");
    canvas.hidden = !canvas.hidden;
    button.setAttribute("aria-pressed", String(!canvas.hidden));
  });
  return [element("p", { className: "hint" }, whereItLooked(map)), button];
}

export function card(name, url, prediction) {
  const photo = element(
    "div",
    { className: prediction.map ? "photo mapped" : "photo" },
    element("img", { src: url, alt: `the photo ${name}` }),
  );
  if (prediction.map) photo.append(drawn(prediction.map));
  const said = prediction.error ? "error" : prediction.unknown ? "unknown" : "";
  const answer = element(
    "div",
    { className: "answer" },
    element("h3", {}, name),
    element("p", { className: said }, answerText(prediction)),
  );
  if (!prediction.error) answer.append(labels(prediction));
  if (prediction.damaged) {
    answer.append(element("p", { className: "hint" }, `The file is damaged: ${prediction.damaged}`));
  }
  if (prediction.map) answer.append(...aboutMap(prediction.map, photo));
  return element("article", { className: "card" }, photo, answer);
}

export function itemList(items, title) {
  const list = element("ul", { className: "items" });
  for (const item of items) {
    const entry = element("li");
    if (item.image) {
      const image = element("img", { alt: "" });
      picture(item.image)
        .then((url) => {
          image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
          image.src = url;
        })
        .catch(() => image.remove());
      entry.append(image);
    }
    const data = element("dl");
    const known = { id: item.id, similarity: item.score.toFixed(3), ...item.columns };
    for (const [column, value] of Object.entries(known)) {
      if (value === null || value === "") continue;
      data.append(element("dt", {}, column), element("dd", {}, String(value)));
    }
    entry.append(data);
    list.append(entry);
  }
  return element("div", {}, element("h3", {}, title), list);
}
