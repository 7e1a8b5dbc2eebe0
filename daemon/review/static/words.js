// How values are shown.

export function percent(value) {
  if (value === null) return "";
  return value < 0.9995 ? `${(100 * value).toFixed(1)}%` : ">99.9%";
}

export function named(label) {
  return label === "none" ? "not a digit" : label;
}

export function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}
