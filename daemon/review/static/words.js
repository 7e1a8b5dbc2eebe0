// How values are shown.

export function percent(value) {
  if (value === null) return "";
  return value < 0.9995 ? `${(100 * value).toFixed(1)}%` : ">99.9%";
}

export const reads = document.body.dataset.reads; // "digit" or "number"
export const NEXT_KEY = reads === "number" ? "↓" : "→"; // in the field for a number, → moves the caret
const WORDS = { none: `not a ${reads}`, several: "several digits" };

export function named(label) {
  return WORDS[label] ?? label;
}

// Return a time as all pages show it: in this place's time zone. time: ISO 8601, as the server writes it.
// form: "day" for a day, with the time of day unless it is midnight; "clock" for the time of day alone.
export function moment(time, form = "") {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return time;
  if (form === "") return date.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  const day = { day: "numeric", month: "short" };
  const clock = { hour: "2-digit", minute: "2-digit" };
  const isMidnight = date.getHours() === 0 && date.getMinutes() === 0;
  if (form === "clock") return date.toLocaleString([], clock);
  return date.toLocaleString([], isMidnight ? day : { ...day, ...clock });
}

// Show the times in a part of a page in this place's time zone.
export function localise(part) {
  for (const time of part.querySelectorAll("time")) {
    time.textContent = moment(time.getAttribute("datetime"), time.dataset.form);
  }
  for (const title of part.querySelectorAll("title[data-time]")) { // SVG's have only text
    title.textContent = `${moment(title.dataset.time, "day")}: ${title.dataset.text}`;
  }
}

// Return by how many minutes this place's time is ahead of UTC.
export function offset() {
  return -new Date().getTimezoneOffset();
}

const LONGEST = 32; // characters, as in daemon/records.py
const NUMBER = /^-?[0-9]+(?:[.,/:-][0-9]+)*$/;

// Return whether the server takes a text as what a row says.
export function isValue(text) {
  return reads === "digit" ? /^[0-9]$/.test(text) : text.length <= LONGEST && NUMBER.test(text);
}

// Return why a text that was typed is no number; it is one neither empty nor `isValue`.
export function numberFault(text) {
  if (text.length > LONGEST) return `That has ${text.length} characters; a number has at most ${LONGEST}.`;
  return `“${text}” is not a number: digits, and single marks between them, such as 7,5.`;
}

// Return a file's name without characters that reverse or hide text.
export function shown(name) {
  return name.replace(/[\p{Cc}\p{Zl}\p{Zp}]|(?![\u200c\u200d])\p{Cf}/gu, "\ufffd");
}

export function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

// Return what a text consists of: its parts between backticks are commands.
export function coded(text) {
  return text.split("`").map((part, place) => (place % 2 ? element("code", part) : part));
}
