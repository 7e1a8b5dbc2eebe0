// The field for a whole number. It is null where images have one digit.

import { isOfNumber, isTyping, narrow } from "./keyboard.js";
import { isAhead, perform } from "./sender.js";
import { isValue } from "./words.js";

const field = document.getElementById("number");
const MINUS = /[\u2010-\u2015\u2212]/g; // hyphens, dashes and the minus sign, as pasted text has them
const INVISIBLE = /\p{Cf}/gu; // what stands between digits stays: without it, 3 1/4 would be 31/4

// Return whether a press in the field is left to the browser: it types what it means, or an input
// method will.
export function takes(press, key) {
  return isOfNumber(key) && isTyping(press, key);
}

export const isField = (target) => field !== null && target === field;
export const value = () => field.value.trim();
export const leave = () => field.blur();

// What was typed for a row and not stored stays in the tab, because the page may be left or loaded
// again. It is forgotten when the row gets an answer.
const place = (item) => `typed for ${item.id}`;
export const forget = (item) => sessionStorage.removeItem(place(item));

export function keep(item, text) {
  sessionStorage.setItem(place(item), JSON.stringify({ text, label: item.label }));
}

function kept(item) {
  const { text, label } = JSON.parse(sessionStorage.getItem(place(item)) ?? "{}");
  return label === item.label ? text : "";
}

// Show what was typed for a row, or else its answer or guess, selected so that typing replaces it.
export function show(item) {
  if (field === null) return;
  field.value = kept(item) || ([item.label, item.digit].find(isValue) ?? "");
  focus();
  field.select();
}

export function focus() {
  if (!document.querySelector("dialog[open]")) field?.focus({ preventScroll: true });
}

// Type a text at the caret.
export function insert(text) {
  replace(clean(text), field.selectionStart, field.selectionEnd);
}

// Delete what is selected, or the character before the caret.
function erase() {
  const { selectionStart, selectionEnd } = field;
  const start = selectionStart === selectionEnd ? Math.max(0, selectionStart - 1) : selectionStart;
  replace("", start, selectionEnd);
}

function replace(text, start, end) {
  field.setRangeText(text, start, end, "end");
  focus();
  field.dispatchEvent(new Event("input"));
}

// Return a text with Latin digits and marks in place of those of other scripts.
function clean(text) {
  const latin = text.replace(/\p{Nd}/gu, (digit) => {
    let zero = digit.codePointAt(0);
    while (/\p{Nd}/u.test(String.fromCodePoint(zero - 1))) zero -= 1;
    return (digit.codePointAt(0) - zero) % 10;
  });
  return Array.from(latin, narrow).join("").replace(MINUS, "-").replace(INVISIBLE, "");
}

// changed: is called when the text has changed.
export function listen(changed) {
  if (field === null) return;
  field.addEventListener("beforeinput", (event) => {
    if (!isAhead()) return;
    event.preventDefault(); // it is meant for the next row
    if (event.data) perform(() => insert(event.data), true);
    else if (event.inputType === "deleteContentBackward") perform(erase, true);
  });
  field.addEventListener("input", (event) => {
    if (event.isComposing) return;
    const cleaned = clean(field.value);
    if (cleaned !== field.value) field.value = cleaned; // pasted, or from an input method
    changed();
  });
  field.addEventListener("compositionend", () => field.dispatchEvent(new Event("input")));
  for (const button of document.querySelectorAll("[data-mark]")) {
    button.addEventListener("mousedown", (event) => event.preventDefault()); // the field keeps the focus
    button.addEventListener("click", () => perform(() => insert(button.dataset.mark), true));
  }
}
