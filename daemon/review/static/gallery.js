// The gallery: filters that act at once, arrow keys between cards, and word of new files.

import { at, recover } from "./api.js";
import { listen } from "./events.js";
import { isCommand } from "./keyboard.js";
import "./drop.js";
import { element, offset } from "./words.js";

const PAUSE_MS = 150; // after the last key press in a field
const SMALL = 80; // px; below this, single pixels are shown
const CHIPS = ["status", "answered", "value"];
const gallery = document.getElementById("gallery");
const filter = document.getElementById("filter");
let wasIndexing = !document.getElementById("indexing").hidden;
let wanted = "";
let timer = null;

// Show what an address shows, and keep the place of whoever types or chooses.
async function show(url) {
  clearTimeout(timer);
  wanted = url;
  try {
    const response = await fetch(url);
    if (!response.ok) throw new Error(response.statusText);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    if (wanted !== url) return; // a newer filter
    const focused = document.activeElement?.id;
    for (const id of ["chips", "found"]) {
      document.getElementById(id).replaceWith(page.getElementById(id));
    }
    if (focused && document.activeElement === document.body) {
      document.getElementById(focused)?.focus();
    }
  } catch {
    if (wanted === url) location.href = url; // shows what is wrong
    return;
  }
  history.replaceState(null, "", url);
  document.querySelector("#new-rows a").href = url;
  document.getElementById("new-rows").hidden = true;
  document.getElementById("said").textContent = document.querySelector(".cards").dataset.said;
  prepareImages();
}

// Return what the chips say. The page may not show it yet: on a slow line, the next click comes first.
function chosen() {
  return new URL(wanted || location.href).searchParams;
}

// Return what the chips say after a click on one: its link leads there from what the page shows.
function choose(link) {
  const shown = new URL(location.href).searchParams;
  const next = new URL(link.href).searchParams;
  const all = chosen();
  for (const name of CHIPS) {
    if (shown.get(name) === next.get(name)) continue;
    if (next.has(name)) all.set(name, next.get(name));
    else all.delete(name);
  }
  return all;
}

// Return the address of what the chips say, with what the fields have now.
function address(chips) {
  const query = new URLSearchParams();
  for (const name of CHIPS) {
    const isTyped = name === "value" && filter.elements.number?.value; // takes the value's place
    if (chips.has(name) && !isTyped) query.append(name, chips.get(name)); // empty: no guess
  }
  for (const field of filter.querySelectorAll(".fields [name]")) {
    const isDefault = field.value === (field.name === "sort" ? "newest" : "");
    if (!isDefault) query.append(field.name, field.value);
  }
  if (query.has("since") || query.has("until")) query.append("offset", offset());
  return `${filter.action}${query.size ? "?" : ""}${query}`;
}

function prepareImages() {
  for (const image of document.querySelectorAll(".card img")) {
    const path = `/image/${image.dataset.id}/small`;
    const mark = () => image.classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) < SMALL);
    image.addEventListener("load", mark);
    if (image.complete) mark();
    const ask = () => { if (image.isConnected) image.src = at(path); }; // the page may show others by now
    const hide = () => image.replaceWith(element("span", "no picture", "no-picture"));
    const fail = () => recover(path, ask, hide);
    image.addEventListener("error", fail);
    if (image.complete && image.naturalWidth === 0) fail(); // before this ran
  }
}

// Return the card that an arrow key leads to.
function neighbour(cards, index, key) {
  if (key === "ArrowLeft") return cards[index - 1];
  if (key === "ArrowRight") return cards[index + 1];
  const columns = cards.filter((card) => card.offsetTop === cards[0].offsetTop).length;
  return cards[index + (key === "ArrowUp" ? -columns : columns)];
}

filter.classList.add("is-instant");
filter.addEventListener("submit", (event) => {
  event.preventDefault();
  show(address(chosen()));
});
filter.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(() => show(address(chosen())), PAUSE_MS);
});
filter.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (link === null || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  const isClear = link.id === "clear";
  if (isClear) {
    for (const field of filter.querySelectorAll("input")) field.value = "";
    filter.elements.sort.value = "newest";
  }
  if (link.id.startsWith("value-") && filter.elements.number) filter.elements.number.value = "";
  show(address(isClear ? new URLSearchParams() : choose(link)));
  if (isClear) filter.elements.name.focus();
});

document.addEventListener("keydown", (event) => {
  if (isCommand(event) || event.target.matches("input, select")) return;
  if (event.key === "/") {
    event.preventDefault();
    filter.elements.name.select();
  } else if (event.key.startsWith("Arrow")) {
    const cards = [...document.querySelectorAll(".card a")];
    const index = cards.indexOf(document.activeElement);
    const next = index < 0 ? cards[0] : neighbour(cards, index, event.key);
    if (index < 0 && event.target !== document.body) return;
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
  }
});

listen((data) => {
  if (wasIndexing && data.state.indexing === null) location.reload();
  wasIndexing = data.state.indexing !== null;
  if (!wasIndexing && data.rows.some((row) => row.new)) {
    document.getElementById("new-rows").hidden = false;
  }
});
document.querySelector("#new-rows a").href = location.href;
gallery.dataset.ready = ""; // keys and filters act from now on
prepareImages();
