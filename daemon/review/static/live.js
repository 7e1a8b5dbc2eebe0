// The live page: counts, charts and errors, drawn again by the server when something changed.

import { at, post } from "./api.js";
import { listen } from "./events.js";
import "./drop.js";
import { element, localise, named, offset, percent } from "./words.js";

const PAUSE_MS = 1000; // between two drawings
const SHOWN = 20;
const figures = document.getElementById("figures");
const arrivals = document.getElementById("arrivals");
let due = null;

// While a button has focus or a bar is pointed at, the person would lose their place.
function isInUse() {
  return figures.contains(document.activeElement) || figures.querySelector(".place:hover") !== null;
}

async function draw() {
  due = null;
  if (isInUse()) {
    later();
    return;
  }
  try {
    const query = new URLSearchParams(location.search);
    query.set("offset", offset()); // so that days begin at this place's midnight
    const response = await fetch(at(`/live/figures?${query}`));
    if (!response.ok) return;
    const drawn = await response.text();
    if (isInUse()) { // since it was asked for
      later();
      return;
    }
    figures.innerHTML = drawn; // every value in it is escaped
    localise(figures);
  } catch { /* the events tell when the server is back */ }
}

function later() {
  due ??= setTimeout(draw, PAUSE_MS);
}

listen((data) => {
  for (const row of data.rows.filter((one) => one.new)) {
    const line = element("li", "", row.status);
    const link = element("a", row.file);
    link.href = at(`/row/${row.id}`);
    line.append(link, " ", element("b", `${row.status} ${named(row.digit)}`), ` ${percent(row.confidence)}`);
    arrivals.prepend(line);
    document.getElementById("no-arrivals").hidden = true;
  }
  while (arrivals.childElementCount > SHOWN) arrivals.lastElementChild.remove();
  later();
});

// Say a bar's values as soon as it is pointed at; its own title takes a second.
for (const kind of ["pointerover", "pointerout"]) {
  figures.addEventListener(kind, (event) => {
    const place = event.target.closest(".place");
    if (place === null) return;
    const said = place.closest(".chart").querySelector(".reading");
    const text = kind === "pointerover" ? place.textContent : said.dataset.summary;
    said.textContent = text;
  });
}

figures.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-retry]");
  if (button === null) return;
  const said = button.parentElement.querySelector("[role=status]");
  button.disabled = true;
  try {
    await post("/api/retries", { id: button.dataset.retry });
    said.textContent = "put back into the inbox";
  } catch (failure) {
    said.textContent = failure.message;
    button.disabled = false;
  }
});

localise(figures);
if (offset() !== 0) draw();
