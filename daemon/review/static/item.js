// Show one row: its picture, what the model says, what a person said.

import { at } from "./api.js";
import * as picture from "./picture.js";
import { element, moment, named, percent, reads } from "./words.js";

const NAMES = [..."0123456789", "none"];
const STATUS = { ok: "ok", unsure: "unsure", error: "could not be read" };
// Where numbers are read, the place is for the strip.
const LEAST = reads === "number" ? 0.01 : 0;
const by = (id) => document.getElementById(id);

export function show(item) {
  by("item").hidden = false;
  picture.show(item);
  const guess = by("guess");
  guess.replaceChildren();
  if (item.digit) {
    const start = item.status === "ok" ? "Read as " : "Perhaps ";
    guess.append(start, element("b", item.digit), ` ${percent(item.confidence)}`);
  } else {
    guess.append("No guess");
  }
  by("why").textContent = item.is_sample
    ? "check: a random one of the sure answers."
    : [STATUS[item.status], item.reason].filter(Boolean).join(": ");
  if (item.is_sample) {
    const link = element("a", "Look through all of them");
    link.href = at("/look");
    by("why").append(" ", link);
  }
  by("file").textContent = `${item.file}, ${moment(item.received_at)}`;
  by("retry").hidden = !item.can_retry;
  answer(item);
  bars(item);
  const seen = by("seen");
  seen.hidden = !item.has_picture;
  if (item.has_picture) seen.querySelector("img").src = at(`/image/${item.id}/seen`);
  say(item);
}

// Show on the button what Enter stores. value: empty if it stores nothing.
export function offer(item, value) {
  const accept = document.querySelector("[data-action=accept]");
  // Not disabled: a click says why nothing is stored.
  accept.setAttribute("aria-disabled", String(!value));
  const verb = value === item.digit ? "Accept" : "Store";
  let nothing = "No guess";
  if (reads === "number") nothing = "No number yet";
  else if (item.digit) nothing = "Not one digit";
  accept.querySelector("span").textContent = value ? `${verb} ${named(value)}` : nothing;
}

export function answer(item) {
  const line = by("answer");
  line.hidden = !item.label;
  const same = item.same_as && `Same file as ${item.same_as.file || "another one"}, answered`;
  line.textContent = item.label ? `${same || "Answered:"} ${named(item.label)}, by ${item.by}` : "";
}

function bars(item) {
  const body = by("bars").tBodies[0];
  body.replaceChildren();
  item.probabilities.forEach((probability, index) => {
    if (probability === null || probability < LEAST) return;
    const row = body.insertRow();
    row.className = NAMES[index] === item.digit ? "best" : "";
    const head = element("th", NAMES[index]);
    head.scope = "row";
    const bar = element("div", "", "bar");
    bar.style.width = `${100 * probability}%`;
    row.append(head);
    row.insertCell().append(bar);
    row.insertCell().textContent = percent(probability);
  });
}

function say(item) {
  const start = item.status === "ok" ? "read as" : "perhaps";
  const guess = item.digit ? [`${start} ${item.digit}`, percent(item.confidence)] : ["no guess"];
  const same = item.same_as ? `same file as ${item.same_as.file || "another one"}, ` : "";
  const label = item.label && `${same}answered ${named(item.label)}`;
  by("said").textContent = `${item.file}: ${[...guess, item.reason, label].filter(Boolean).join(", ")}`;
}

by("seen").querySelector("img").addEventListener("error", () => { by("seen").hidden = true; });
