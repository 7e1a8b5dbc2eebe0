// Store answers one after the other. One that cannot be stored is kept and tried again.

import { post } from "./api.js";
import { named, reads } from "./words.js";

const RETRY_MS = [500, 1000, 2000, 4000];
// Whoever answers ten files a second types ahead. Whoever has waited longer than this for the next file
// has not seen it, and presses a key again for the one that is still shown.
const PATIENCE_MS = 1500;
const problem = document.getElementById("problem");

// An attempt to store an answer: { item, label, isTurned, isUndo, before, tries }. `before` is the
// answer that the person saw.
let sending = null; // the attempt that is under way
let failed = null; // the attempt that did not succeed
let timer = null; // until it is tried again
let isLate = false; // the first attempt has taken longer than PATIENCE_MS
const typed = []; // keys that were pressed while an answer was being stored
let page = {};

// handlers: what the page does when an answer was stored (`done`), when somebody else has given another
// (`overtaken`), and when it will not be stored (`dropped`); `context` returns what else is sent.
export function start(handlers) {
  page = handlers;
}

export const isBusy = () => sending !== null || failed !== null;
export const hasFailed = () => failed !== null;
export const concerns = (item) => item === sending?.item || item === failed?.item;

// Do it now, or when the answer before it is stored. While an answer is tried again, its item is
// still shown, and the key would be meant for that one.
export function perform(action) {
  if (!isBusy()) action();
  else if (sending?.tries === 0 && !isLate) typed.push(action);
}

// Forget the keys that were pressed while an answer was being stored.
export function ignoreTyped() {
  typed.length = 0;
}

export async function store(attempt) {
  sending = attempt;
  const { item, label, isTurned, before } = attempt;
  if (attempt.tries === 0) problem.hidden = true;
  isLate = false;
  const late = setTimeout(() => { if (attempt.tries === 0) wait(attempt); }, PATIENCE_MS);
  try {
    const sent = { id: item.id, label, seen: before, is_turned: isTurned, reads };
    const row = await post("/api/answers", { ...sent, ...page.context(item) });
    sending = null;
    succeed(attempt, row);
  } catch (failure) {
    sending = null;
    if (failure.status === 409 && failure.item) compare(attempt, failure.item);
    else if (failure.status === 400) refuse(attempt, failure);
    else keep(attempt, failure);
  } finally {
    clearTimeout(late);
  }
}

// The server takes long.
function wait(attempt) {
  isLate = true;
  const unused = forgetTyped();
  tell(`${describe(attempt)} is still being stored. Keys do nothing until then.${unused}`, false);
}

// Forget the keys that were pressed meanwhile; return how many, as a sentence.
function forgetTyped() {
  const count = typed.length;
  ignoreTyped();
  if (count === 0) return "";
  return ` ${count} later key ${count === 1 ? "press was" : "presses were"} not used.`;
}

function succeed(attempt, row) {
  problem.hidden = true;
  page.done(attempt, row);
  while (typed.length && !isBusy()) typed.shift()();
}

// Somebody else has answered after this page had loaded the row.
function compare(attempt, row) {
  const { label } = attempt;
  if (row.label === (label === "undo" ? "" : label)) {
    succeed(attempt, row); // or this page has, and the server died before it said so
    return;
  }
  ignoreTyped();
  tell(`${row.by} has answered ${named(row.label) || "nothing"} meanwhile. Press a key to answer all `
    + "the same, or → to go on.", false);
  page.overtaken(attempt, row);
}

// The answer is wrong whenever it is tried.
function refuse(attempt, failure) {
  ignoreTyped();
  page.dropped(attempt);
  tell(`${describe(attempt)} is not stored: ${failure.message}`, false);
}

function keep(attempt, failure) {
  const unused = forgetTyped();
  failed = attempt;
  timer = setTimeout(again, RETRY_MS[Math.min(attempt.tries, RETRY_MS.length - 1)]);
  tell(`${describe(attempt)} is not stored: ${failure.message}. It is kept and tried again.${unused}`, true);
}

function describe({ item, label }) {
  return `${label === "undo" ? "Undo" : `Your answer ${named(label)}`} for ${item.file}`;
}

export function again() {
  if (failed === null) return;
  clearTimeout(timer);
  const attempt = failed;
  failed = null;
  store({ ...attempt, tries: attempt.tries + 1 });
}

export function forget() {
  if (failed === null) return;
  clearTimeout(timer);
  page.dropped(failed);
  failed = null;
  problem.hidden = true;
}

function tell(text, canTryAgain) {
  problem.hidden = false;
  problem.querySelector("p").textContent = text;
  for (const button of problem.querySelectorAll("button")) button.hidden = !canTryAgain;
}
