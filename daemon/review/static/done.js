// What Check says when nothing is left to check.

import { get } from "./api.js";
import { daemon, waiting } from "./events.js";

const AGAIN_MS = 1000;
const by = (id) => document.getElementById(id);

let isWanted = false; // nothing is left to check
let isAsking = false;
let isDue = false; // something has changed since the count was asked for
let given = 0; // answers on this page
let timer = null; // until it is tried again
let again = () => {};

// refill: looks again whether anything is left.
export function start(refill) {
  again = refill;
}

// Say it once the number of sure answers that nobody has looked at is known. It is asked for here and
// now: an earlier number may be from before the last answer.
export async function show(answers) {
  given = answers;
  isWanted = true;
  isDue = true;
  if (isAsking) return;
  isAsking = true;
  let unseen;
  let failure;
  while (isDue && isWanted) {
    isDue = false;
    failure = null;
    try {
      ({ unseen } = await get("/api/unseen/count"));
    } catch (error) {
      failure = error;
    }
  }
  isAsking = false;
  if (!isWanted) return;
  if (failure) fail(failure);
  else say(unseen);
}

export function hide() {
  isWanted = false;
  by("done").hidden = true;
}

// Say why it is not known whether anything is left.
export function fail(failure) {
  isWanted = true;
  write("Nothing can be checked right now.", `${sentence(failure.message)} It is tried again.`, 0);
  clearTimeout(timer);
  timer = setTimeout(() => { if (isWanted) again(); }, AGAIN_MS);
}

function say(unseen) {
  const left = waiting();
  const hasAll = left === 0 && !["paused", "hung", "unknown"].includes(daemon());
  let heading = hasAll ? "Everything is checked." : "All files that were read are checked.";
  if (unseen) heading = "The doubtful files are checked.";
  const details = [];
  if (given) details.push(`You gave ${given} ${given === 1 ? "answer" : "answers"}.`);
  if (left) details.push(`${left.toLocaleString("en")} ${left === 1 ? "file waits" : "files wait"} to be read.`);
  if (!details.length) details.push("New files appear here by themselves.");
  write(heading, details.join(" "), unseen);
}

function write(heading, detail, unseen) {
  by("done-text").textContent = heading;
  by("done-detail").textContent = detail;
  by("done-unseen").hidden = unseen === 0;
  const have = unseen === 1 ? "answer has" : "answers have";
  by("unseen").textContent = `${unseen.toLocaleString("en")} sure ${have} not been looked at.`;
  document.querySelector("#done [data-action=undo]").hidden = given === 0;
  by("item").hidden = true;
  by("done").hidden = false;
  const said = unseen ? `${heading} ${by("unseen").textContent}` : heading;
  if (by("said").textContent !== said) by("said").textContent = said;
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
}
