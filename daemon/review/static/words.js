// How values are shown.

export function percent(value) {
  if (value === null) return "";
  return value < 0.9995 ? `${(100 * value).toFixed(1)}%` : ">99.9%";
}

export const reads = document.body.dataset.reads; // "digit" or "number"
const WORDS = { none: `not a ${reads}`, several: "several digits" };

export function named(label) {
  return WORDS[label] ?? label;
}

const LONGEST = 32; // characters, as in daemon/records.py
const NUMBER = /^-?[0-9]+(?:[.,/:-][0-9]+)*$/;

// Return whether the server takes a text as what a row says.
export function isValue(text) {
  return reads === "digit" ? /^[0-9]$/.test(text) : text.length <= LONGEST && NUMBER.test(text);
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
