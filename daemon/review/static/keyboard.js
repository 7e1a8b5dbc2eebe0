// What a key press means on any keyboard layout: "7", "n", "?", "Enter", …

// Letters, digits and marks of Latin keyboards: é and § are, ۵ and т are not.
const LATIN = /^[\p{scx=Latin}\p{scx=Common}]$/u;
const UNTYPED = new Set(["Dead", "Process", "Unidentified"]); // accents; keys that an input method takes
const FULL_WIDTH = /^[！-～]$/u; // of an input method: U+FF01 to U+FF5E are ASCII's, in its order
// The US layout, where what is typed does not tell. [without Shift, with Shift]
const POSITIONS = {
  Minus: ["-", "_"],
  Equal: ["=", "+"],
  Slash: ["/", "?"],
  Comma: [",", "<"],
  Period: [".", ">"],
  Semicolon: [";", ":"],
  NumpadAdd: ["+", "+"],
  NumpadDecimal: [".", "."],
  NumpadDivide: ["/", "/"],
  NumpadSubtract: ["-", "-"],
  NumpadEnter: ["Enter", "Enter"],
  Enter: ["Enter", "Enter"],
  Escape: ["Escape", "Escape"],
  ArrowLeft: ["ArrowLeft", "ArrowLeft"],
  ArrowRight: ["ArrowRight", "ArrowRight"],
  ArrowUp: ["ArrowUp", "ArrowUp"],
  ArrowDown: ["ArrowDown", "ArrowDown"],
};

// Return what a press means. press: a KeyboardEvent. hasPlainDigits: whether the digit row of the
// layout is known to type Latin digits without Shift (see `plainDigits`).
export function meaning(press, hasPlainDigits = true) {
  const key = narrow(press.key);
  const isTyped = LATIN.test(key);
  if (isOnDigitRow(press) && !press.getModifierState("AltGraph")) {
    if (/^[0-9a-z]$/i.test(key)) return key.toLowerCase(); // some layouts have letters there
    const isSymbol = press.shiftKey && hasPlainDigits; // ! on QWERTY, + on Swiss keyboards
    if (isHungarian(press) || (isSymbol && (isTyped || UNTYPED.has(key)))) return key;
    return press.code.at(-1);
  }
  if (isTyped) return key.toLowerCase();
  if (key.length > 1 && !UNTYPED.has(key)) return key;
  if (press.getModifierState("AltGraph")) return key;
  return position(press) ?? key;
}

// Return whether the layout's digit row types Latin digits without Shift, if a press tells, or else
// what was known before.
export function plainDigits(press, before = true) {
  const isShifted = press.shiftKey || press.getModifierState("CapsLock"); // AZERTY's is a Shift lock
  if (!isOnDigitRow(press) || isShifted || press.getModifierState("AltGraph")) return before;
  if (UNTYPED.has(press.key)) return before;
  return isHungarian(press) || /^[0-9]$/.test(narrow(press.key));
}

// A press with these is a command of the browser. AltGr, which may set Ctrl and Alt, types.
export function isCommand(press) {
  return press.metaKey || ((press.ctrlKey || press.altKey) && !press.getModifierState("AltGraph"));
}

// Return whether a number has a key: a digit or a mark.
export function isOfNumber(key) {
  return /^[0-9.,/:-]$/.test(key);
}

// Return whether a press types what it means, or an input method will. AZERTY's 2 types é.
export function isTyping(press, key) {
  return press.isComposing || ["Process", "Unidentified", key].includes(press.key);
}

function isOnDigitRow(press) {
  return /^Digit[0-9]$/.test(press.code);
}

// Its key of the 0 has ö and no digit; 0 is left of 1. Elsewhere ö is not in the digit row.
function isHungarian(press) {
  return press.code === "Digit0" && /^ö$/i.test(press.key);
}

// Return the ASCII character of a full-width one.
export function narrow(key) {
  return FULL_WIDTH.test(key) ? String.fromCharCode(key.charCodeAt(0) - 0xfee0) : key;
}

function position({ code, shiftKey }) {
  const [, letter, digit] = /^(?:Key([A-Z])|(?:Digit|Numpad)([0-9]))$/.exec(code) ?? [];
  return letter?.toLowerCase() ?? digit ?? POSITIONS[code]?.[Number(shiftKey)];
}
