// Store answers one after the other. One that cannot be stored is kept and tried again.

import { post } from "./api.js";
import { isValue, named, NEXT_KEY, reads } from "./words.js";

const RETRY_MS = [500, 1000, 2000, 4000];
const LATE_MS = 1500; // until the page says that an answer is still being stored
// A key that follows the one before it sooner than this is typed ahead, for the next file. A later one
// is meant for the file that is still shown.
const PAUSE_MS = 1000;
const REACTION_MS = 500; // nobody answers a file sooner after having typed for the one before it
// Whoever reads that Enter tries again may press it just after the answer was stored without it.
const SURPRISE_MS = 2000;
const problem = document.getElementById("problem");

// An attempt to store an answer: { item, label, isTurned, isUndo, before, beforeBy, by, tries }.
// `before` is the answer that the person saw, `beforeBy` who must have given it, if that matters; `by` who
// gives this one, if not the person at this page.
let sending = null; // the attempt that is under way
let failed = null; // the attempt that did not succeed
let timer = null; // until it is tried again
let pressedAt = -PAUSE_MS; // when a key was last used
let ignoredAt = -PAUSE_MS; // when a key was last not used
let isLate = false; // the page says that an answer takes long
let ignored = 0; // keys that were pressed while the answer was being stored, and not used
let surprise = null; // the last attempt that was stored after it had failed, and when: { attempt, at }
let refusal = ""; // why the attempt did not succeed
let conflict = ""; // what somebody else has answered meanwhile
let conflictAt = -SURPRISE_MS; // when the page said so
const typed = []; // keys that were pressed while an answer was being stored: { action, isPart }
let page = {};

// handlers: what the page does when an answer was stored or somebody else has given the same (`done`),
// when somebody has given another (`overtaken`, which returns whether its row is shown), and when it will
// not be stored (`dropped`); `note` shows a text at the bottom; `accept` is what Enter does; `context`
// returns what else is sent.
export function start(handlers) {
  page = handlers;
}

export const isBusy = () => sending !== null || failed !== null;
export const hasFailed = () => failed !== null;
export const concerns = (item) => item === sending?.item || item === failed?.item;

// Do it now, or when the answer before it is stored. While an answer is tried again, its item is
// still shown, and the key would be meant for that one. isPart: it types a part of a number, which
// means nothing without the rest.
export function perform(action, isPart = false) {
  const now = performance.now();
  if (hasFailed() || sending?.tries > 0) {
    ignored += 1;
    tellRefusal();
  } else if (surprise !== null && now - surprise.at < (action === page.accept ? SURPRISE_MS : REACTION_MS)) {
    ignored += 1;
    page.note(`${describe(surprise.attempt)} was stored just before.${unused(ignored)}`);
  } else if (isTooSoon(now) || (conflict && action === page.accept && now - conflictAt < SURPRISE_MS)) {
    ignoredAt = now;
    ignored += 1;
    tell(`${conflict}${unused(ignored)} Press a key again after a second.`, false);
  } else if (now - ignoredAt < REACTION_MS || (sending !== null && now - pressedAt > PAUSE_MS)) {
    ignoredAt = now;
    ignored += 1;
    while (typed.at(-1)?.isPart) ignored += typed.splice(-1).length;
    if (sending !== null) wait();
  } else {
    pressedAt = now;
    if (conflict) problem.hidden = true; // it was read
    conflict = "";
    if (sending === null) action();
    else typed.push({ action, isPart });
  }
}

// Return whether a key was typed ahead, for the next row: somebody else's answer has kept this one on
// the page.
function isTooSoon(now) {
  if (conflict === "") return false;
  return now - conflictAt < REACTION_MS || now - Math.max(pressedAt, ignoredAt) < PAUSE_MS;
}

// Return whether what is typed into the field is not for the row that is shown.
export function isAhead() {
  return isBusy() || isTooSoon(performance.now());
}

// Forget the keys that were pressed while an answer was being stored.
export function ignoreTyped() {
  typed.length = 0;
}

export async function store(attempt) {
  sending = attempt;
  conflict = "";
  const { item, label, isTurned, before, beforeBy, by } = attempt;
  if (attempt.tries === 0) {
    problem.hidden = true;
    ignored = 0;
  }
  isLate = false;
  const late = attempt.tries === 0 ? setTimeout(wait, LATE_MS) : null;
  try {
    const sent = { id: item.id, label, seen: before, seen_by: beforeBy, is_turned: isTurned, reads };
    const context = page.context(item);
    const row = await post("/api/answers", { ...sent, ...context, by: by ?? context.by });
    sending = null;
    succeed(attempt, row);
  } catch (failure) {
    sending = null;
    if (isLate) page.note("");
    if (failure.status === 409 && failure.item) compare(attempt, failure.item);
    else if (failure.status === 400) refuse(attempt, failure);
    else keep(attempt, failure);
  } finally {
    clearTimeout(late);
  }
}

// Say that the server takes long.
function wait() {
  isLate = true;
  page.note(`${describe(sending)} is still being stored.${unused(ignored)}`);
}

// Say how many key presses were not used.
function unused(count) {
  if (count === 0) return "";
  return ` ${count} later key ${count === 1 ? "press was" : "presses were"} not used.`;
}

// isOthers: whether somebody else has given this answer.
function succeed(attempt, row, isOthers = false) {
  problem.hidden = true;
  if (attempt.tries > 0) {
    surprise = { attempt, at: performance.now() };
    ignored = 0;
  }
  page.done(attempt, row, isOthers);
  while (typed.length && !isBusy()) typed.shift().action();
}

// Somebody else has answered after this page had loaded the row.
function compare(attempt, row) {
  const { item, label, tries } = attempt;
  if (row.label === (label === "undo" ? "" : label)) {
    succeed(attempt, row, tries === 0); // later, this page may have, and the server died before it said so
    return;
  }
  ignored = typed.length;
  ignoreTyped();
  const isShown = page.overtaken(attempt, row);
  const whose = row.same_as ? `the same file as ${item.file}` : item.file;
  conflict = row.label ? `${row.by} has answered ${named(row.label)} for ${whose} meanwhile. `
    : `The answer to ${item.file} was taken back meanwhile. `;
  if (attempt.isUndo && row.label) conflict += "It stays.";
  else if (attempt.isUndo || !isShown) conflict += "Nothing was changed.";
  else if (reads === "number" && isValue(label)) conflict += `Enter stores ${label} all the same, ${NEXT_KEY} goes on.`;
  else conflict += `Press a key to answer all the same, or ${NEXT_KEY} to go on.`;
  conflictAt = performance.now();
  tell(conflict + unused(ignored), false);
}

// The answer is wrong whenever it is tried.
function refuse(attempt, failure) {
  ignoreTyped();
  page.dropped(attempt);
  tell(`${describe(attempt)} is not stored: ${failure.message}`, false);
}

function keep(attempt, failure) {
  ignored += typed.length;
  ignoreTyped();
  failed = attempt;
  timer = setTimeout(again, RETRY_MS[Math.min(attempt.tries, RETRY_MS.length - 1)]);
  refusal = `${describe(attempt)} is not stored: ${failure.message}. It is kept and tried again.`;
  tellRefusal();
}

function tellRefusal() {
  tell(refusal + unused(ignored), true);
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
