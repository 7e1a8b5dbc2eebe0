// Files that are dropped on the page, or chosen, go into the inbox; their answers are shown.

import { at, upload } from "./api.js";
import { listen } from "./events.js";
import { element, named, percent } from "./words.js";

const panel = document.getElementById("dropped");
const list = panel.querySelector("ul");
const hint = document.getElementById("drop-hint");
const chooser = document.getElementById("files");
const waiting = new Map(); // file name -> its line
let lines = Promise.resolve(); // one file after another

function add(files) {
  panel.hidden = false;
  for (const file of files) {
    const line = list.appendChild(element("li", `${file.name}: waiting`));
    lines = lines.then(() => send(file, line));
  }
}

async function send(file, line) {
  line.textContent = `${file.name}: sending`;
  waiting.set(file.name, line);
  try {
    await upload(file);
    // Its answer may have come first.
    if (waiting.get(file.name) === line) line.textContent = `${file.name}: in the inbox`;
  } catch (failure) {
    waiting.delete(file.name);
    line.textContent = `${file.name}: not added: ${failure.message}`;
    line.className = "error";
  }
}

function answered(row) {
  const line = waiting.get(row.file);
  if (!row.new || line === undefined) return;
  waiting.delete(row.file);
  line.className = row.status;
  line.textContent = `${row.file}: `;
  const link = element("a", `${named(row.digit) || "–"} ${percent(row.confidence)} ${row.status}`);
  link.href = at(`/row/${row.id}`);
  line.append(link);
}

let depth = 0; // dragenter and dragleave come for every element

addEventListener("dragenter", (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return;
  depth += 1;
  hint.hidden = false;
});
addEventListener("dragleave", () => {
  depth = Math.max(0, depth - 1);
  hint.hidden = depth === 0;
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  hint.hidden = true;
  if (event.dataTransfer?.files.length) add(event.dataTransfer.files);
});
chooser.addEventListener("change", () => {
  add(chooser.files);
  chooser.value = "";
});
document.getElementById("dropped-close").addEventListener("click", () => { panel.hidden = true; });
listen((data) => data.rows.forEach(answered));
