// The review page: one key answers, the server stores it, the next item appears.

import { at, get, post } from "./api.js";
import { listen } from "./events.js";
import * as finish from "./done.js";
import "./drop.js";
import * as shown from "./item.js";
import { isCommand, meaning, plainDigits } from "./keyboard.js";
import * as number from "./number.js";
import * as picture from "./picture.js";
import { Queue } from "./queue.js";
import * as sender from "./sender.js";
import { isValue, named, NEXT_KEY, numberFault, reads } from "./words.js";

const given = JSON.parse(document.getElementById("given").textContent);
const queue = new Queue(given);
const help = document.getElementById("help");
const nameField = document.getElementById("name");
const by = (id) => document.getElementById(id);

const stored = []; // the attempts that `u` takes back, newest last
// Whether nothing else was shown since the newest was stored or taken back, but what comes next.
let isJustStored = false;
let contested = null; // the item that is shown for which an answer was not stored: it has somebody else's
const ANSWERS = new Set(["accept", "retry", "undo", "undo-last"]);
let pending = ""; // a digit, or "several", that waits for Enter

function render() {
  const item = queue.current;
  by("item").hidden = item === null;
  if (item === null) {
    pending = "";
    if (queue.isComplete) finish.show(stored.length);
    return;
  }
  finish.hide();
  if (contested !== item) contested = null;
  item.isShown = true;
  shown.show(item);
  number.show(item);
  hold("");
  if (item.news) note(`${describe(item.news)} ${NEXT_KEY} goes on.`);
}

// Say what has become of a file since it was shown here.
function describe({ file, label, by: who }) {
  if (label) return `${who} has answered ${named(label)} for ${file} meanwhile.`;
  return `${file} has left failed/: somebody has put it back or removed it.`;
}

// Show an answer that waits for Enter; empty if there is none.
function hold(label) {
  pending = label;
  const item = queue.current;
  const value = offered(item);
  shown.offer(item, isStorable(value) ? value : "");
  if (label === "several") hint("Enter stores “several digits”. Esc clears it.");
  else if (label) hint(`Enter stores ${label}. A second digit makes it “several digits”.`);
  else if (hasSeveral(item)) hint("Several digits? Press m. A digit key waits for Enter here.");
  else hint("");
}

// Return what Enter stores, or would if it were a number; empty if nothing.
function offered(item) {
  if (reads === "number") return number.value();
  return pending || (isValue(item.digit) ? item.digit : "");
}

function isStorable(value) {
  return isValue(value) || value === "several";
}

// Return whether an image that should have one digit seems to have more, by its reason, or by what was
// read when numbers were. Whoever types "10" for it must not answer two files.
function hasSeveral(item) {
  return reads === "digit" && (item.reason.startsWith("several digits") || item.digit.length > 1);
}

function hint(text) {
  by("hint").textContent = text;
}

async function refill() {
  const wasEmpty = queue.current === null;
  try {
    await queue.fill();
  } catch (failure) {
    if (queue.current === null) finish.fail(failure);
    return;
  }
  if (wasEmpty) {
    if (queue.current === null || queue.current.label) queue.advance();
    render();
  }
}

function update(item, row) {
  number.forget(item);
  item.news = null;
  item.label = row.label;
  item.by = row.by;
  item.source = row.source;
  item.same_as = row.same_as;
  item.can_retry = row.can_retry;
}

function done(attempt, row, isOthers) {
  const { item, label, isUndo } = attempt;
  const undoneId = label === "undo" ? item.same_as?.id : undefined;
  update(item, row);
  contested = null;
  queue.share(item, undoneId);
  const isOwn = !isUndo && label !== "undo" && !isOthers;
  isJustStored = isUndo || isOwn;
  if (isOwn) stored.push({ ...attempt, storedBy: row.by });
  if (isOthers && item.label) note(`${item.by} has answered ${named(item.label)} for ${item.file} already.`);
  else report(attempt);
  if (queue.current === item) {
    if (isUndo || label === "undo") render();
    else goOn(item);
  } else if (!queue.isQueue) { // the answer to it was taken back
    keepForNextPage({ page: item.id, said: by("stored").querySelector("span").textContent });
    location.assign(at(`/row/${item.id}?${given.query}`));
  }
  refill();
}

// After an answer: the next item of the queue, or the next row of the gallery.
function goOn(item) {
  if (queue.isQueue) {
    queue.advance();
    render();
    return;
  }
  sender.ignoreTyped(); // they were meant for the next row, which is another page
  render();
  if (!item.neighbours.next) return;
  const { id, file, label } = item;
  const attempt = isJustStored ? { ...stored.at(-1), item: { id, file, label } } : null;
  if (attempt !== null) keepForNextPage({ page: item.neighbours.next, attempt });
  location.assign(at(`/row/${item.neighbours.next}?${item.query}`));
}

// Keep what was done last for the page of the row that is shown next. It has the id of that row in
// `page`, and an attempt that can be taken back or a text to show.
function keepForNextPage(last) {
  sessionStorage.setItem("last", JSON.stringify(last));
}

// Show what was done last before the page of this row was shown, also if that is loaded again.
function recall() {
  const last = JSON.parse(sessionStorage.getItem("last") ?? "{}");
  const isReloaded = performance.getEntriesByType("navigation")[0]?.type === "reload";
  if (queue.isQueue || last.page !== given.id || (last.isShown && !isReloaded)) {
    sessionStorage.removeItem("last");
    return;
  }
  keepForNextPage({ ...last, isShown: true });
  isJustStored = true;
  if (last.attempt) {
    stored.push(last.attempt);
    report(last.attempt);
  } else {
    note(last.said);
  }
}

// Say what was stored for which file.
function report({ item, label, isUndo, before, seen }) {
  let left = "has no answer";
  if (label !== "undo") left = `has the answer ${named(label)} of ${item.by} again`;
  else if (item.label) left = `has the answer of ${item.same_as?.file || "the same file"}`;
  let text = `Stored ${named(label)} for ${item.file}.`;
  if (isUndo || label === "undo") text = `Undone: ${item.file} ${left}.`;
  if (label === "undo" && !isUndo) text += ` ${seen.by} had answered ${named(before)}.`;
  note(text);
  by("stored").querySelector("button").hidden = stored.at(-1)?.item !== item;
}

// Write into the line at the bottom, without a button.
function note(text) {
  const line = by("stored").querySelector("span");
  line.textContent = text;
  line.title = text; // a long name is cut
  by("stored").querySelector("button").hidden = true;
}

function overtaken({ item, label, isUndo }, row) {
  update(item, row);
  isJustStored = isUndo; // `u` goes on with the answer before, and never takes back somebody else's
  contested = isUndo || label === "undo" ? null : item;
  note("");
  if (reads === "number" && isValue(label) && !isUndo) number.keep(item, label);
  queue.back(item);
  render();
  return queue.current === item;
}

function dropped(attempt) {
  if (attempt.isUndo) stored.push(attempt.undone);
}

function answer(label) {
  const item = queue.current;
  if (item === null) return;
  const { label: before, turns } = item;
  const isTurned = Boolean(turns) && label !== "undo";
  const seen = { by: item.by, source: item.source, same_as: item.same_as };
  sender.store({ item, label, isTurned, isUndo: false, before, seen, tries: 0 });
}

function accept() {
  const item = queue.current;
  if (item === null) return;
  const value = offered(item);
  if (isStorable(value)) answer(value);
  else if (value) hint(numberFault(value));
  else if (reads === "number") hint("Nothing is typed. Type the number, or press n for “not a number”.");
  else hint(refuseGuess(item.digit));
}

function refuseGuess(guess) {
  const what = guess ? `The guess “${guess}” is not one digit.` : "There is no guess to accept.";
  return `${what} Press a digit, n for “not a digit” or m for “several digits”.`;
}

function type(key) {
  if (queue.current === null) return;
  if (reads === "number") number.insert(key);
  else if (pending) hold("several");
  else if (hasSeveral(queue.current)) hold(key);
  else answer(key);
}

function several() {
  if (queue.current === null) return;
  if (reads === "digit") answer("several");
  else hint("Whole numbers are read here: type the number as it is written.");
}

function undo() {
  const item = queue.current;
  if (pending) hold("");
  else if (item && item === contested) {
    note(`Nothing of yours was stored for ${item.file}. ${NEXT_KEY} goes on, and leaves the answer of ${item.by}.`);
  } else if (item?.label && !isJustStored && stored.at(-1)?.item !== item) answer("undo"); // what is shown
  else undoLast();
}

function undoLast() {
  const undone = stored.pop();
  if (undone === undefined) {
    note("This page has no answer of its own to take back. Find older ones in the gallery.");
    return;
  }
  const { item, seen } = undone;
  const before = seen.same_as ? "" : undone.before; // that answer is another file's
  queue.back(item);
  render();
  // `reads` may have been another when the answer before was given.
  const canRestore = isValue(before) || before === "none" || (before === "several" && reads === "digit");
  const label = canRestore ? before : "undo";
  const isTurned = canRestore && seen.source === "turned";
  const by = canRestore ? seen.by : undefined;
  // Not item.label and item.by: somebody else's answer may have come since, and stays.
  const own = { before: undone.label, beforeBy: undone.storedBy };
  sender.store({ item, label, isTurned, isUndo: true, undone, ...own, by, tries: 0 });
}

// Put the file that could not be read back into the inbox.
async function retry() {
  const item = queue.current;
  if (!item?.can_retry) return;
  try {
    await post("/api/retries", { id: item.id });
  } catch (failure) {
    hint(failure.message);
    return;
  }
  item.isRetried = true;
  const next = queue.isQueue ? "" : " What comes of it is shown here.";
  note(`${item.file} is in the inbox again.${next}`);
  takeOut(item);
}

// Return whether a row says what came of the file that is shown and was put back.
function isNewRowOfShown(row) {
  const item = queue.current;
  return row.new && !queue.isQueue && Boolean(item?.isRetried) && row.file === item.file;
}

// Take a file out of the queue that cannot be retried any more.
function takeOut(item) {
  item.can_retry = false;
  if (queue.isQueue && !queue.remove(item)) return;
  render();
  refill();
}

// Say of the file that is shown that it cannot be retried any more: whoever types an answer to it must
// not have another one before them.
function lose(item) {
  item.can_retry = false;
  by("retry").hidden = true;
  note(`${describe({ file: item.file, label: "" })} ${NEXT_KEY} goes on.`);
}

// Whoever goes on has read what somebody else has answered.
function passOver() {
  const item = queue.current;
  if (item?.news) update(item, item.news);
}

async function go(step) {
  isJustStored = false;
  sessionStorage.removeItem("last");
  passOver();
  const neighbour = step > 0 ? "next" : "previous";
  if (queue.isQueue) {
    if (step > 0 && !queue.knowsNext) await refill();
    if (queue.current === null && step < 0) queue.position = queue.items.length;
    queue.move(step);
    render();
    if (!queue.isComplete) refill();
  } else if (given.neighbours[neighbour]) {
    location.assign(at(`/row/${given.neighbours[neighbour]}?${given.query}`));
  }
}

const actions = {
  accept,
  later: async () => {
    if (!queue.knowsNext) await refill();
    passOver();
    if (queue.isQueue && queue.current !== null) queue.postpone();
    render();
    if (!queue.isComplete) refill();
  },
  undo,
  "undo-last": undoLast,
  previous: () => go(-1),
  next: () => go(1),
  retry,
  turn: () => { if (queue.current !== null) picture.turn(queue.current); },
};

function lookThrough() {
  const item = queue.current;
  if (queue.isQueue && item?.status === "unsure" && !item.label) {
    hint("The doubtful files come first. Press l again when they are answered.");
  } else {
    location.assign(at("/look"));
  }
}

const keys = {
  Enter: actions.accept,
  n: () => answer("none"),
  m: several,
  l: lookThrough,
  s: actions.later,
  u: actions.undo,
  r: actions.turn,
  ArrowLeft: actions.previous,
  ArrowRight: actions.next,
};
const symbols = reads === "number" ? "0123456789.,-/:" : "0123456789";
for (const key of symbols) keys[key] = () => type(key);
// In the field for a number, left and right move the caret.
const { ArrowLeft: previous, ArrowRight: next, ...keysInField } = keys;
Object.assign(keysInField, { ArrowUp: previous, ArrowDown: next, Escape: number.leave });
if (reads === "number") Object.assign(keys, { ArrowUp: previous, ArrowDown: next });

let hasPlainDigits = true; // of the keyboard's layout

addEventListener("keydown", (event) => {
  if (isCommand(event) || help.open) return;
  const isInNumber = number.isField(event.target);
  // Nothing is typed into the field that chooses files; it keeps the focus afterwards.
  const field = event.target.closest?.("input:not([type=file]), select, textarea");
  // A field of the closed help keeps the focus until the next frame, 16 ms.
  if (field && !isInNumber && !help.contains(field)) return;
  hasPlainDigits = plainDigits(event, hasPlainDigits);
  const key = meaning(event, hasPlainDigits);
  if (isInNumber && number.takes(event, key)) return;
  if (isInNumber && key.length === 1 && keysInField[key]) event.preventDefault(); // also if it repeats
  if (event.repeat || event.isComposing) return;
  if (key === "Enter" && event.target.closest?.("button, a, [type=file]")) return; // it presses what has focus
  if (sender.hasFailed()) {
    if (key === "Enter") sender.again();
    else if (key === "Escape") sender.forget();
    else if (keys[key] !== undefined) sender.perform(keys[key]); // which says that it is not used
  } else if (isInNumber) {
    if (key === "?") help.showModal();
    else if (keysInField[key] !== undefined) sender.perform(keysInField[key]);
    else return;
  } else if (!press(key, event.target)) {
    return;
  }
  event.preventDefault();
});

// Do what a key means outside of fields; return whether it means something.
function press(key, target) {
  const isInPicture = target === by("picture");
  // They scroll what has the focus.
  if ((key === "ArrowUp" || key === "ArrowDown") && target.closest?.("[tabindex]")) return false;
  if (key === "?") help.showModal();
  else if (key === "+" || key === "=") picture.zoomIn();
  else if (key === "-" && (reads === "digit" || isInPicture)) picture.zoomOut();
  else if (key === "Escape" && pending) hold("");
  else if (key === "Escape" && !queue.isQueue) location.assign(at(`/gallery?${given.query}`));
  else if (keys[key] !== undefined) sender.perform(keys[key], reads === "number" && symbols.includes(key));
  else return false;
  return true;
}

addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button === null) return;
  const { label, action } = button.dataset;
  // Who clicks twice on an answer has not seen the next file.
  if (event.detail > 1 && (label !== undefined || ANSWERS.has(action))) return;
  if (/^[0-9]$/.test(label)) sender.perform(() => type(label));
  else if (label === "several") sender.perform(several);
  else if (label !== undefined) sender.perform(() => answer(label));
  else if (action === "again") sender.again();
  else if (action === "forget") sender.forget();
  else if (action !== undefined) sender.perform(actions[action]);
  // Enter accepts the next guess instead of pressing the same button again.
  if (button.closest("#item, #stored") && event.detail > 0) button.blur();
});

by("help-open").addEventListener("click", () => help.showModal());
nameField.value = localStorage.getItem("name") ?? "";
nameField.addEventListener("change", () => localStorage.setItem("name", nameField.value.trim()));

addEventListener("beforeunload", (event) => {
  if (sender.isBusy()) event.preventDefault();
});

// Answers that were given elsewhere, and new rows.
listen((data) => {
  for (const row of data.rows) {
    if (isNewRowOfShown(row)) location.assign(at(`/row/${row.id}?${given.query}`));
    const item = queue.find(row.id);
    if (item === null || row.new || sender.concerns(item)) continue;
    if (item.can_retry || item.news || (item !== queue.current && row.label !== item.label)) {
      get(`/api/rows/${row.id}`).then((now) => {
        const isLost = item.can_retry && !now.can_retry && !now.label && !sender.isBusy();
        if (queue.isAwaited(item)) item.news = isLost || now.label ? now : null;
        else if (isLost && queue.isQueue && item === queue.current) lose(item);
        else if (isLost) takeOut(item);
        else if (item !== queue.current) update(item, now);
      }, () => {});
    }
  }
  refill();
});

sender.start({
  done,
  overtaken,
  dropped,
  note,
  accept,
  context: (item) => ({
    by: nameField.value,
    in_queue: queue.isQueue,
    is_sample: Boolean(item.is_sample),
  }),
});
finish.start(refill);
number.listen(() => {
  if (queue.current === null) return;
  number.keep(queue.current, number.value());
  hold("");
});
recall();
if (queue.isQueue) refill();
else render();
