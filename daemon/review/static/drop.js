// Files that are dropped on the page, or chosen, go into the inbox; their answers are shown.

import { at, get, upload } from "./api.js";
import { listen } from "./events.js";
import { element, named, percent, shown } from "./words.js";

const BUSY = 429; // several others are sending files
const BUSY_MS = 1000;
const ASKED = 20; // uploads in one request
const panel = document.getElementById("dropped");
const list = panel.querySelector("ul");
const hint = document.getElementById("drop-hint");
const chooser = document.getElementById("files");
const limit = Number(chooser.dataset.maxMb);
const waiting = new Map(); // an upload's id -> its line and name
let lines = Promise.resolve(); // one file after another
let unsent = 0;
let isAsking = false;
let isDue = false; // there may be new rows

function add(files) {
  panel.hidden = false;
  for (const file of files) {
    const name = shown(file.name);
    const line = list.appendChild(element("li", `${name}: waiting`));
    unsent += 1;
    lines = lines.then(() => send(file, name, line)).finally(() => { unsent -= 1; });
  }
}

async function send(file, name, line) {
  if (file.size > limit * 1e6) {
    refuse(line, name, `it is larger than ${limit} MB: save a smaller one`);
    return;
  }
  line.textContent = `${name}: sending`;
  try {
    const stored = await upload(file, (share) => {
      line.textContent = `${name}: sending ${Math.floor(100 * share)} %`;
    });
    const given = shown(stored.name);
    const both = given === name ? name : `${name} (as ${given})`;
    line.textContent = `${both}: in the inbox`;
    waiting.set(stored.id, { line, name: both });
    ask(); // its answer may have come first
  } catch (failure) {
    if (failure.status === BUSY) {
      line.textContent = `${name}: waiting until others have sent theirs`;
      await new Promise((resolve) => { setTimeout(resolve, BUSY_MS); });
      await send(file, name, line);
      return;
    }
    refuse(line, name, failure.message);
    if (failure.status === 0 || failure.status >= 500) offerAgain(file, line);
  }
}

function refuse(line, name, why) {
  line.textContent = `${name}: not added: ${why}`;
  line.className = "error";
}

function offerAgain(file, line) {
  const button = element("button", "Try again");
  button.type = "button";
  button.addEventListener("click", () => {
    line.remove();
    add([file]);
  });
  line.append(" ", button);
}

// Ask for the rows of all uploads that have none yet. Events are not enough: a page that was hidden
// misses some, and one event has at most 50 rows.
async function ask() {
  isDue = true;
  if (isAsking) return;
  isAsking = true;
  try {
    while (isDue && waiting.size > 0) {
      isDue = false;
      const ids = [...waiting.keys()];
      for (let start = 0; start < ids.length; start += ASKED) {
        const asked = new URLSearchParams(ids.slice(start, start + ASKED).map((id) => ["id", id]));
        const { rows } = await get(`/api/files?${asked}`);
        for (const [id, row] of Object.entries(rows)) answered(id, row);
      }
    }
  } catch { /* the next event asks again */ } finally {
    isAsking = false;
  }
}

function answered(id, row) {
  const { line, name } = waiting.get(id);
  waiting.delete(id);
  line.className = row.status;
  line.textContent = `${name}: `;
  const link = element("a", `${named(row.digit) || "–"} ${percent(row.confidence)} ${row.status}`);
  link.href = at(`/row/${row.id}`);
  line.append(link, row.reason && ` ${row.reason}`);
}

addEventListener("beforeunload", (event) => {
  if (unsent > 0) event.preventDefault();
});

function dropped(file, entry) {
  if (entry?.isDirectory) {
    panel.hidden = false;
    refuse(list.appendChild(element("li", "")), shown(file.name), "it is a folder: add its files");
  } else {
    add([file]);
  }
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
  for (const item of event.dataTransfer?.items ?? []) {
    if (item.kind === "file") dropped(item.getAsFile(), item.webkitGetAsEntry());
  }
});
chooser.addEventListener("change", () => {
  add(chooser.files);
  chooser.value = "";
});
document.getElementById("dropped-close").addEventListener("click", () => { panel.hidden = true; });
listen(ask);
