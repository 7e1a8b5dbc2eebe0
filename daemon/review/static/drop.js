// Files that are dropped on the page, chosen, or photographed go into the inbox; their answers are shown.

import { at, get, upload } from "./api.js";
import { daemon, listen } from "./events.js";
import { coded, element, named, percent, shown } from "./words.js";

const BUSY = 429; // several others are sending files
const BUSY_MS = 1000;
const ASKED = 20; // uploads in one request
const PICTURE_PX = 128; // wide
// Files that operating systems put into folders.
const NOT_THE_PERSONS = /^(\..*|thumbs\.db|desktop\.ini)$/i;
const IN_THE_INBOX = {
  reading: "in the inbox",
  starting: "in the inbox: digitd is starting",
  paused: "in the inbox: digitd has paused, and reads it later",
  hung: "in the inbox: digitd hangs, so it is read when somebody restarts it",
  stopped: "in the inbox: digitd is not running, so it is read when somebody starts it",
  unknown: "in the inbox",
};
const panel = document.getElementById("dropped");
const list = panel.querySelector("ul");
const heard = document.getElementById("dropped-heard"); // by a screen reader
const hint = document.getElementById("drop-hint");
const choosers = document.querySelectorAll("#files, #camera");
const limit = Number(document.getElementById("files").dataset.maxMb);
const waiting = new Map(); // lines whose files are in the inbox -> the uploads' ids
let sent = Promise.resolve(); // one file after another
let drawn = Promise.resolve(); // so that many photos are not decoded at once
let unsent = 0;
let isAsking = false;
let isDue = false; // there may be new rows

// What is said about one file, next to its picture.
class Line {
  constructor(name) {
    this.name = name;
    this.said = "";
    this.isDrawn = Promise.resolve();
    this.picture = element("span", "", "picture");
    this.place = list.appendChild(element("li", ""));
    panel.hidden = false;
  }

  // more: elements and texts that follow.
  say(what, ...more) {
    this.said = what;
    this.place.replaceChildren(this.picture, `${this.name}: `, ...coded(what), ...more);
  }

  progress(share) {
    const bar = document.createElement("progress");
    bar.value = share;
    bar.setAttribute("aria-label", `${this.name}: sent`);
    this.say(`sending ${Math.floor(100 * share)} %`, bar);
  }

  wait() {
    const what = IN_THE_INBOX[daemon()];
    if (this.said !== what) this.say(what);
  }

  refuse(why, ...more) {
    this.place.className = "error";
    this.say(`not added: ${why}`, ...more);
    this.announce();
  }

  answer(row) {
    const link = element("a", `${named(row.digit) || "–"} ${percent(row.confidence)} ${row.status}`);
    link.href = at(`/row/${row.id}`);
    this.place.className = row.status;
    this.say("", link, row.reason && ` ${row.reason}`);
    this.announce();
    this.isDrawn.then(() => this.load(row.id));
  }

  announce() {
    heard.textContent = this.place.textContent;
  }

  // Show the file as the browser decodes it.
  async draw(file) {
    try {
      const bitmap = await createImageBitmap(file, { resizeWidth: PICTURE_PX });
      const canvas = document.createElement("canvas");
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      bitmap.close();
      this.picture.replaceChildren(canvas);
    } catch { /* it is no image, or not one for this browser */ }
  }

  // Show the file as the server decodes it, which knows more formats.
  load(id) {
    if (this.picture.hasChildNodes()) return;
    const image = document.createElement("img");
    image.alt = "";
    image.addEventListener("error", () => image.remove());
    image.src = at(`/image/${id}/small`);
    this.picture.append(image);
  }
}

function isTooLarge(file) {
  return file.size > limit * 1e6;
}

function add(files) {
  for (const file of files) {
    const line = new Line(shown(file.name));
    line.say("waiting");
    if (!isTooLarge(file)) drawn = drawn.then(() => line.draw(file));
    line.isDrawn = drawn;
    unsent += 1;
    sent = sent.then(() => send(file, line)).finally(() => { unsent -= 1; });
  }
}

async function send(file, line) {
  if (isTooLarge(file)) {
    line.refuse(`it is larger than ${limit} MB: save a smaller one`);
    return;
  }
  line.progress(0);
  try {
    const stored = await upload(file, (share) => line.progress(share));
    const given = shown(stored.name);
    if (given !== line.name) line.name += ` (as ${given})`;
    line.wait();
    waiting.set(line, stored.id);
    ask(); // its answer may have come first
  } catch (failure) {
    if (failure.status === BUSY) {
      line.say("waiting until others have sent theirs");
      await new Promise((resolve) => { setTimeout(resolve, BUSY_MS); });
      await send(file, line);
      return;
    }
    const canHelp = failure.status === 0 || failure.status >= 500;
    line.refuse(failure.message, ...(canHelp ? [" ", again(file, line)] : []));
  }
}

function again(file, line) {
  const button = element("button", "Try again");
  button.type = "button";
  button.addEventListener("click", () => {
    line.place.remove();
    add([file]);
  });
  return button;
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
      const lines = [...waiting];
      for (let start = 0; start < lines.length; start += ASKED) {
        const asked = lines.slice(start, start + ASKED);
        const ids = new URLSearchParams(asked.map(([, id]) => ["id", id]));
        const { rows } = await get(`/api/files?${ids}`);
        for (const [line, id] of asked) {
          if (rows[id] && waiting.delete(line)) line.answer(rows[id]);
        }
      }
    }
  } catch { /* the next event asks again */ } finally {
    isAsking = false;
  }
}

addEventListener("beforeunload", (event) => {
  if (unsent > 0) event.preventDefault();
});

// Add the files in a folder and in its folders. entry: a FileSystemDirectoryEntry.
async function addFolder(entry) {
  let count;
  try {
    count = await addEntries(entry);
  } catch (error) {
    new Line(shown(entry.name)).refuse(`the folder cannot be read: ${error.message}`);
    return;
  }
  if (count === 0) new Line(shown(entry.name)).refuse("the folder has no files");
}

async function addEntries(folder) {
  const reader = folder.createReader();
  let count = 0;
  let entries;
  do { // some at a time
    entries = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    for (const entry of entries.sort((one, other) => one.name.localeCompare(other.name, "en", { numeric: true }))) {
      if (entry.isDirectory) {
        count += await addEntries(entry);
      } else if (!NOT_THE_PERSONS.test(entry.name)) {
        add([await new Promise((resolve, reject) => { entry.file(resolve, reject); })]);
        count += 1;
      }
    }
  } while (entries.length > 0);
  return count;
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
  // All of them now: the list is empty when this function has returned.
  const items = [...event.dataTransfer?.items ?? []].filter((item) => item.kind === "file");
  for (const [file, entry] of items.map((item) => [item.getAsFile(), item.webkitGetAsEntry()])) {
    if (entry?.isDirectory) addFolder(entry);
    else add([file]);
  }
});
for (const chooser of choosers) {
  chooser.addEventListener("change", () => {
    add(chooser.files);
    chooser.value = "";
  });
}
document.getElementById("dropped-close").addEventListener("click", () => { panel.hidden = true; });
listen(() => {
  for (const line of waiting.keys()) line.wait();
  ask();
});
