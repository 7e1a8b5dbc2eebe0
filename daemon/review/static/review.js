// The review page: one key answers, the server stores it, the next item appears.

import { at, get, post } from "./api.js";
import { listen } from "./events.js";
import "./drop.js";
import * as shown from "./item.js";
import { isCommand, meaning, plainDigits } from "./keyboard.js";
import * as picture from "./picture.js";
import { Queue } from "./queue.js";
import { named, reads } from "./words.js";

const RETRY_MS = [500, 1000, 2000, 4000];
const given = JSON.parse(document.getElementById("given").textContent);
const queue = new Queue(given);
const help = document.getElementById("help");
const nameField = document.getElementById("name");
const problem = document.getElementById("problem");
const by = (id) => document.getElementById(id);

// An attempt to store an answer: { item, label, isUndo, before, tries }. `before` is the answer that
// the person saw.
const stored = []; // what `u` takes back, newest last
const typed = []; // keys that were pressed while an answer was being stored
let sending = null; // the attempt that is under way
let failed = null; // the attempt that did not succeed
let timer = null; // until it is tried again

function render() {
  const item = queue.current;
  by("item").hidden = item === null;
  by("done").hidden = item !== null;
  if (item !== null) shown.show(item);
  else finished();
}

function finished() {
  by("done-text").textContent = "Everything is checked.";
  by("done-detail").textContent = stored.length ? `You gave ${stored.length} answers.`
    : "New files appear here by themselves.";
  document.querySelector("#done [data-action=undo]").hidden = stored.length === 0;
  by("said").textContent = "Everything is checked.";
}

async function refill() {
  const wasEmpty = queue.current === null;
  try {
    await queue.fill();
  } catch (failure) {
    if (queue.current === null) by("said").textContent = failure.message;
    return;
  }
  if (wasEmpty) {
    if (queue.current?.label) queue.advance();
    render();
  }
}

async function store(attempt) {
  sending = attempt;
  const { item, label } = attempt;
  try {
    const row = await post("/api/answers", {
      id: item.id,
      label,
      seen: attempt.before,
      by: nameField.value,
      in_queue: queue.isQueue,
      is_sample: Boolean(item.is_sample),
      reads,
    });
    sending = null;
    done(attempt, row);
  } catch (failure) {
    sending = null;
    if (failure.status === 409 && failure.item) overtaken(attempt, failure.item);
    else if (failure.status === 400) refused(attempt, failure);
    else keep(attempt, failure);
  }
}

function done(attempt, row) {
  const { item, label, isUndo } = attempt;
  item.label = row.label;
  item.by = row.by;
  problem.hidden = true;
  if (!isUndo && label !== "undo") stored.push(attempt);
  if (queue.current === item) {
    if (isUndo || label === "undo") render();
    else goOn(item);
  }
  while (typed.length && sending === null && failed === null) typed.shift()();
  refill();
}

// After an answer: the next item of the queue, or the next row of the gallery.
function goOn(item) {
  if (queue.isQueue) {
    queue.advance();
    render();
    return;
  }
  typed.length = 0; // they were meant for the next row, which is another page
  render();
  if (item.neighbours.next) location.assign(at(`/row/${item.neighbours.next}?${item.query}`));
}

// Somebody else has answered after this page had loaded the row.
function overtaken(attempt, row) {
  const { item, label } = attempt;
  if (row.label === (label === "undo" ? "" : label)) {
    done(attempt, row); // or this page has, and the server died before it said so
    return;
  }
  item.label = row.label;
  item.by = row.by;
  typed.length = 0;
  tell(`${row.by} has answered ${named(row.label) || "nothing"} meanwhile. Press a key to answer all `
    + "the same, or → to go on.", false);
  queue.back(item);
  render();
}

// The answer is wrong whenever it is tried.
function refused(attempt, failure) {
  typed.length = 0;
  if (attempt.isUndo) stored.push(attempt.undone);
  tell(`Your answer ${named(attempt.label)} for ${attempt.item.file} is not stored: ${failure.message}`,
    false);
}

function keep(attempt, failure) {
  const unused = typed.length ? ` ${typed.length} later key presses were not used.` : "";
  typed.length = 0;
  failed = attempt;
  timer = setTimeout(again, RETRY_MS[Math.min(attempt.tries, RETRY_MS.length - 1)]);
  const what = attempt.label === "undo" ? "Undo" : `Your answer ${named(attempt.label)}`;
  tell(`${what} for ${attempt.item.file} is not stored: ${failure.message}. It is kept and tried `
    + `again.${unused}`, true);
}

function again() {
  if (failed === null) return;
  clearTimeout(timer);
  const attempt = failed;
  failed = null;
  store({ ...attempt, tries: attempt.tries + 1 });
}

function forget() {
  clearTimeout(timer);
  if (failed?.isUndo) stored.push(failed.undone);
  failed = null;
  problem.hidden = true;
}

function tell(text, canTryAgain) {
  problem.hidden = false;
  problem.querySelector("p").textContent = text;
  for (const button of problem.querySelectorAll("button")) button.hidden = !canTryAgain;
}

function answer(label) {
  const item = queue.current;
  if (item === null) return;
  problem.hidden = true;
  store({ item, label, isUndo: false, before: item.label, tries: 0 });
}

function undo() {
  const shownItem = queue.current;
  const undone = stored.at(-1);
  if (shownItem?.label && undone?.item !== shownItem) {
    answer("undo"); // the answer that is shown
    return;
  }
  if (undone === undefined) return;
  stored.pop();
  const { item } = undone;
  queue.back(item);
  render();
  store({ item, label: undone.before || "undo", isUndo: true, undone, before: item.label, tries: 0 });
}

function go(step) {
  const neighbour = step > 0 ? "next" : "previous";
  if (queue.isQueue) {
    if (queue.current === null && step < 0) queue.position = queue.items.length;
    queue.move(step);
    render();
  } else if (given.neighbours[neighbour]) {
    location.assign(at(`/row/${given.neighbours[neighbour]}?${given.query}`));
  }
}

const actions = {
  accept: () => { if (queue.current?.digit) answer(queue.current.digit); },
  later: () => {
    if (queue.isQueue && queue.current !== null) queue.postpone();
    render();
  },
  undo,
  previous: () => go(-1),
  next: () => go(1),
};

// Do it now, or when the answer before it is stored. While an answer is tried again, its item is
// still shown, and the key would be meant for that one.
function perform(action) {
  if (sending === null && failed === null) action();
  else if (sending?.tries === 0) typed.push(action);
}

const keys = {
  Enter: actions.accept,
  n: () => answer("none"),
  s: actions.later,
  u: actions.undo,
  ArrowLeft: actions.previous,
  ArrowRight: actions.next,
};
// One digit would be a wrong answer for most numbers.
if (reads === "digit") for (const digit of "0123456789") keys[digit] = () => answer(digit);

let hasPlainDigits = true; // of the keyboard's layout

addEventListener("keydown", (event) => {
  if (event.repeat || isCommand(event) || help.open) return;
  // Nothing is typed into the field that chooses files; it keeps the focus afterwards.
  const field = event.target.closest?.("input:not([type=file]), select, textarea");
  // A field of the closed help keeps the focus until the next frame, 16 ms.
  if (field && !help.contains(field)) return;
  hasPlainDigits = plainDigits(event, hasPlainDigits);
  const key = meaning(event, hasPlainDigits);
  if (key === "Enter" && event.target.closest?.("button, a, [type=file]")) return; // it presses what has focus
  if (failed !== null) {
    if (key === "Enter") again();
    if (key === "Escape") forget();
  } else if (key === "?") {
    help.showModal();
  } else if (key === "+" || key === "=") {
    picture.zoomIn();
  } else if (key === "-") {
    picture.zoomOut();
  } else if (key === "Escape" && !queue.isQueue) {
    location.assign(at(`/gallery?${given.query}`));
  } else if (keys[key] !== undefined) {
    perform(keys[key]);
  } else {
    return;
  }
  event.preventDefault();
});

addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button === null) return;
  if (button.dataset.label !== undefined) perform(() => answer(button.dataset.label));
  else if (button.dataset.action === "again") again();
  else if (button.dataset.action === "forget") forget();
  else if (button.dataset.action !== undefined) perform(actions[button.dataset.action]);
  // Enter accepts the next guess instead of pressing the same button again.
  if (button.closest("#keys") && event.detail > 0) button.blur();
});

by("help-open").addEventListener("click", () => help.showModal());
nameField.value = localStorage.getItem("name") ?? "";
nameField.addEventListener("change", () => localStorage.setItem("name", nameField.value.trim()));

addEventListener("beforeunload", (event) => {
  if (sending !== null || failed !== null) event.preventDefault();
});

// Answers that were given elsewhere, and new rows.
listen((data) => {
  for (const row of data.rows) {
    const item = queue.find(row.id);
    if (item === null || row.new || item === sending?.item || item === failed?.item) continue;
    if (item !== queue.current && row.label !== item.label) {
      get(`/api/rows/${row.id}`).then((now) => {
        if (item === queue.current) return;
        item.label = now.label;
        item.by = now.by;
      }, () => {});
    }
  }
  refill();
});

render();
if (queue.isQueue) refill();
