// The look-through: a page of sure answers. A click and a key correct one, Enter stores them all.

import { at, get, post, recover } from "./api.js";
import "./drop.js";
import { isCommand, isOfNumber, isTyping, meaning, plainDigits } from "./keyboard.js";
import { element, isValue, named, numberFault, reads } from "./words.js";

const MOST = 60; // tiles on a page
const LEAST = 12; // on a small screen, which scrolls
const LONG = 4; // characters, from which on a tile is wider
const LONGEST = 14; // and a text smaller
const BAR = 110; // px, at the bottom
const SMALL = 80; // px; below this, single pixels are shown
const by = (id) => document.getElementById(id);
const place = by("tiles");
const field = by("correct-number"); // null unless numbers are read

let tiles = []; // { id, sha256, file, digit, label, isGone, isLoaded, button }
let current = null; // the tile that keys correct
let after = ""; // the id of the last row of the page before
let isBusy = false; // a page is being stored or loaded
const unconfirmed = new Set(); // ids whose answers were sent, and may have been stored without a response
let stored = null; // the last page that was stored, for undo: { tiles, from, by, answers }
let hasPlainDigits = true;

function tell(text) { by("look-said").textContent = text; }

function answersOf(many) { return `${many} ${many === 1 ? "answer" : "answers"}`; }

function complain(text) {
  by("look-problem").hidden = text === "";
  by("look-problem").textContent = text;
}

// Load the page after a row; "" loads the first one.
async function load(from, said = "") {
  isBusy = true;
  let data;
  try {
    data = await get(`/api/unseen?after=${from}&limit=${MOST}`);
  } catch (failure) {
    complain(`The next page cannot be loaded: ${failure.message}. It is tried again.`);
    setTimeout(() => load(from, said), 1000);
    return;
  }
  isBusy = false;
  complain("");
  after = from;
  show(data.tiles.map((row) => ({ ...row, label: row.digit })), false);
  if (tiles.length) {
    const many = tiles.length === data.unseen ? "" : ` of ${data.unseen.toLocaleString("en")}`;
    tell(`${said}${tiles.length}${many} sure ${tiles.length === 1 ? "answer" : "answers"}.`);
    return;
  }
  const left = data.unseen.toLocaleString("en");
  by("look-empty").querySelector("p").textContent = data.unseen
    ? `This was the last page. ${left} sure ${data.unseen === 1 ? "answer has" : "answers have"} not been looked at.`
    : "All sure answers have been looked at.";
  by("look-again").hidden = data.unseen === 0;
  tell(`${said}${by("look-empty").querySelector("p").textContent}`);
}

// Take away the tiles that do not fit on the screen, so that a page is stored only as it was seen.
// Return the others.
function cut(page) {
  const bottom = innerHeight - BAR;
  const isBelow = ({ button }, index) => index >= LEAST && button.getBoundingClientRect().bottom > bottom;
  const end = page.findIndex(isBelow);
  if (end < 0) return page;
  for (const { button } of page.slice(end)) button.parentElement.remove();
  for (const group of place.querySelectorAll(".group:not(:has(li))")) group.remove();
  return page.slice(0, end);
}

// isWhole: whether all tiles are shown, also those that do not fit.
function show(page, isWhole) {
  tiles = page;
  current = null;
  by("correct").hidden = true;
  by("look-empty").hidden = page.length > 0;
  by("look-buttons").hidden = page.length === 0 && stored === null;
  by("look-hint").hidden = page.length === 0;
  for (const id of ["look-store", "look-skip"]) by(id).hidden = page.length === 0;
  by("look-undo").hidden = stored === null;
  place.replaceChildren();
  let list = null;
  let text = null;
  for (const tile of page) {
    if (list === null || (reads === "digit" && tile.digit !== text)) {
      text = tile.digit;
      const group = place.appendChild(element("section", "", "group"));
      if (reads === "digit") group.append(element("h2", `Read as ${text}`));
      list = group.appendChild(element("ul", "", "tiles"));
    }
    list.appendChild(document.createElement("li")).append(make(tile));
    draw(tile);
  }
  scrollTo(0, 0);
  if (!isWhole) tiles = cut(page);
  tiles.forEach(ask);
  count();
  place.focus({ preventScroll: true });
}

function make(tile) {
  tile.isGone = false;
  tile.isLoaded = false;
  tile.button = element("button", "", "tile");
  tile.button.type = "button";
  tile.button.title = tile.file;
  tile.image = new Image();
  tile.image.alt = "";
  tile.image.addEventListener("load", () => {
    tile.isLoaded = true;
    tile.image.classList.toggle("small", Math.max(tile.image.naturalWidth, tile.image.naturalHeight) < SMALL);
    count();
  });
  tile.image.addEventListener("error", () => recover(pathOf(tile), () => ask(tile), () => giveUp(tile)));
  tile.button.addEventListener("click", () => { if (settle()) choose(tile); });
  return tile.button;
}

function pathOf(tile) {
  return `/image/${tile.id}/ink`;
}

function ask(tile) {
  tile.image.src = at(pathOf(tile));
}

// Say that the file of a tile cannot be shown.
function giveUp(tile) {
  tile.isLoaded = true;
  tile.isGone = true;
  draw(tile);
  count();
}

function draw(tile) {
  const { button } = tile;
  const isChanged = tile.label !== tile.digit;
  button.classList.toggle("changed", isChanged);
  button.classList.toggle("current", tile === current);
  const isWide = tile.digit.length > LONG;
  button.classList.toggle("wide", isWide);
  button.classList.toggle("long", named(tile.label).length > (isWide ? LONGEST : LONG));
  const picture = tile.isGone ? element("span", "the file cannot be shown", "gone") : tile.image;
  button.replaceChildren(picture, element("b", named(tile.label)));
  if (isChanged) button.append(element("s", tile.digit));
  const what = isChanged ? `${named(tile.label)} instead of ${tile.digit}` : tile.digit;
  const gone = tile.isGone ? ", the file cannot be shown" : "";
  button.setAttribute("aria-label", `${what}, ${tile.file}${gone}`);
  button.tabIndex = tile === (current ?? tiles[0]) ? 0 : -1;
}

// Of a file that cannot be shown, only an answer that was given by hand is stored.
function toStore() {
  return tiles.filter((tile) => !tile.isGone || tile.isGiven);
}

function count() {
  const loading = tiles.filter((tile) => !tile.isLoaded).length;
  const many = toStore().length;
  const changed = tiles.filter((tile) => tile.label !== tile.digit).length;
  const button = by("look-store");
  button.disabled = loading > 0 || isBusy;
  const corrected = changed ? `, ${changed} corrected` : "";
  button.replaceChildren(loading ? `Loading ${loading} pictures`
    : `${many === 0 ? "Next page" : `Store ${answersOf(many)}${corrected}`} `);
  if (!loading) button.append(element("kbd", "Enter"));
}

function choose(tile) {
  const before = current;
  current = tile;
  if (before) draw(before);
  by("correct").hidden = tile === null;
  by("correct-fault").textContent = "";
  if (tile === null) return;
  draw(tile);
  if (tile !== tiles[0]) draw(tiles[0]); // only one tile can be reached with Tab
  const whole = element("a", "See the whole file");
  whole.href = at(`/row/${tile.id}`);
  whole.target = "_blank";
  const what = element("span", `${tile.file} was read as ${tile.digit}.`);
  what.title = tile.file; // a long name is cut
  by("correct-what").replaceChildren(what, whole);
  if (field === null) {
    tile.button.focus();
  } else {
    field.value = numberOf(tile);
    field.focus();
    field.select();
  }
  tile.button.scrollIntoView({ block: "nearest" });
}

// Return what the field shows for a tile before anything is typed.
function numberOf(tile) {
  return isValue(tile.label) ? tile.label : tile.digit;
}

// Return whether the field has a text that was typed for the current tile.
function isEdited() {
  return field !== null && current !== null && field.value !== "" && field.value !== numberOf(current);
}

function correct(label) {
  if (current === null) {
    tell("Click the wrong one first, or go to it with the arrow keys.");
    return;
  }
  const same = copies(current);
  for (const tile of same) {
    tile.label = label;
    tile.isGiven = true;
    draw(tile);
  }
  if (field !== null) field.value = numberOf(current); // what was typed is taken, or given up
  count();
  const instead = label === current.digit ? "" : ` instead of ${current.digit}`;
  const also = same.length > 1 ? `, and the same for ${same.length - 1} with the same bytes` : "";
  tell(`${current.file}: ${named(label)}${instead}${also}.`);
  current.button.focus();
}

// Return the tiles with the content of one, it included.
function copies(tile) {
  return tiles.filter((other) => other === tile || (tile.sha256 && other.sha256 === tile.sha256));
}

function take() {
  const text = field.value.trim();
  if (isValue(text)) correct(text);
  else by("correct-fault").textContent = text ? numberFault(text) : "Nothing is typed.";
}

// Take a number that was typed without Enter; return whether none is left that cannot be taken.
function settle() {
  if (!isEdited()) return true;
  take();
  if (!isEdited()) return true;
  field.focus();
  return false;
}

function putBack() {
  if (current === null) return;
  const tile = current;
  choose(null);
  current = null;
  for (const same of copies(tile)) {
    same.label = same.digit;
    same.isGiven = false;
    draw(same);
  }
  count();
  tile.button.focus();
}

// Go to the tile beside, or the nearest one in the row above or below.
function move(key) {
  if (tiles.length === 0 || !settle()) return;
  const index = tiles.indexOf(current);
  if (index < 0) {
    choose(tiles[0]);
    return;
  }
  if (key === "ArrowLeft" || key === "ArrowRight") {
    const next = tiles[index + (key === "ArrowLeft" ? -1 : 1)];
    if (next) choose(next);
    return;
  }
  const box = current.button.getBoundingClientRect();
  const isWanted = (top) => (key === "ArrowUp" ? top < box.top - 1 : top > box.top + 1);
  const far = (one) => {
    const { left, top } = one.button.getBoundingClientRect();
    return Math.abs(top - box.top) * 1000 + Math.abs(left - box.left);
  };
  const others = tiles.filter((one) => isWanted(one.button.getBoundingClientRect().top));
  if (others.length) choose(others.reduce((best, one) => (far(one) < far(best) ? one : best)));
}

// Store an answer for every row that is shown; nothing changes on the page before it is stored.
function store() {
  if (tiles.every((tile) => tile.isLoaded)) leave(toStore, "", "press Enter");
}

// Go to the next page, and store only the answers that were given by hand.
function skip() {
  leave(() => tiles.filter((tile) => tile.isGiven), "Skipped the others. ", "click “Skip this page”");
}

// Store the answers of some tiles and show the next page. find: returns these tiles. way: how a person
// does this.
async function leave(find, skipped, way) {
  if (isBusy || tiles.length === 0 || !settle()) return;
  const given = find();
  const answers = given.map(({ id, label }) => ({ id, label, seen: "" }));
  const from = after;
  let said = skipped && "Skipped a page. ";
  if (answers.length) {
    const reply = await send(answers, "These answers are", way);
    if (reply === null) return;
    const own = given.filter(({ id }) => reply.own.has(id));
    const corrected = own.filter((tile) => tile.label !== tile.digit).length;
    said = `Stored ${answersOf(own.length)}, ${corrected} corrected. ${skipped}${reply.said}`;
    const agreed = given.length - own.length - reply.overtaken.length;
    if (agreed) said += `Somebody else has given ${agreed} of the same meanwhile. `;
    stored = { tiles, from, by: reply.by, answers: answers.filter(({ id }) => reply.own.has(id)) };
  }
  load(tiles.at(-1).id, said);
}

// Return the server's reply, with the ids of the rows that have our answers and what is said of the
// others; null if nothing was stored, which the page says. way: how to try again.
async function send(answers, what, way) {
  isBusy = true;
  count();
  try {
    const reply = await post("/api/seen", {
      answers, by: localStorage.getItem("name") ?? "", reads,
    });
    complain("");
    const others = new Set(reply.overtaken.map((row) => row.id));
    const ours = answers.filter(({ id }) => unconfirmed.has(id) && !others.has(id));
    reply.own = new Set([...reply.stored, ...ours.map(({ id }) => id)]);
    reply.said = "";
    for (const row of reply.overtaken) reply.said += tellOvertaken(row);
    for (const { id } of answers) unconfirmed.delete(id);
    return reply;
  } catch (failure) {
    for (const { id } of answers) unconfirmed.add(id);
    const next = failure.status === 400 ? "" : ` Nothing is lost: ${way} to try again.`;
    complain(`${what} not stored: ${failure.message}.${next}`);
    return null;
  } finally {
    isBusy = false;
    count();
  }
}

function tellOvertaken(row) {
  const what = named(row.label) || "nothing";
  return `${row.by || "Somebody"} has answered ${what} for ${row.file} meanwhile, which stays. `;
}

async function undo() {
  if (isBusy || stored === null) return;
  const { tiles: page, from, by: own, answers } = stored;
  const taken = answers.map(({ id, label }) => ({ id, label: "undo", seen: label, seen_by: own }));
  let said = `Took back ${answersOf(0)}.`;
  if (taken.length) {
    const reply = await send(taken, "The undo is", "press u");
    if (reply === null) return;
    said = `Took back ${answersOf(reply.own.size)}. ${reply.said}`;
  }
  stored = null;
  after = from;
  show(page, true);
  tell(said);
}

function insert(text) {
  field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
  field.focus();
}

addEventListener("keydown", (event) => {
  if (event.repeat && event.key === "Enter") return;
  if (isCommand(event)) return;
  hasPlainDigits = plainDigits(event, hasPlainDigits);
  const key = meaning(event, hasPlainDigits);
  if (field !== null && event.target === field) {
    if (key === "Enter") take();
    else if (key === "Escape") putBack();
    else if (key === "ArrowUp" || key === "ArrowDown") move(key);
    else if (key.startsWith("Arrow") && !event.shiftKey && !isEdited()) move(key);
    else if (key === "n") correct("none");
    else if (isOfNumber(key) && !isTyping(event, key)) insert(key);
    else return;
    event.preventDefault();
    return;
  }
  if (event.target.closest?.("input:not([type=file]), select, textarea, dialog")) return;
  const isOnControl = event.target.closest?.("button:not(.tile), a, [type=file]");
  if (key === "Enter" && isOnControl) return; // it presses what has focus
  if (key === "Enter") store();
  else if (key.startsWith("Arrow")) move(key);
  else if (key === "Escape") putBack();
  else if (key === "n") correct("none");
  else if (key === "m" && reads === "digit") correct("several");
  else if (key === "u") undo();
  else if (/^[0-9]$/.test(key) && reads === "digit") correct(key);
  else return;
  event.preventDefault();
});

by("correct").addEventListener("click", ({ target }) => {
  const { label, mark } = target.closest("button")?.dataset ?? {};
  if (label !== undefined) correct(label);
  if (mark !== undefined) insert(mark);
});
by("correct-take")?.addEventListener("click", take);
by("correct-not").addEventListener("click", putBack);
by("look-store").addEventListener("click", store);
by("look-skip").addEventListener("click", skip);
by("look-undo").addEventListener("click", undo);
by("look-again").addEventListener("click", () => load(""));
addEventListener("beforeunload", (event) => {
  if (isBusy || isEdited() || tiles.some((tile) => tile.isGiven)) event.preventDefault();
});

load("");
