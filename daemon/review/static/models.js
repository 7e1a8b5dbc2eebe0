// The page of the models: promote one, go back; both after a question.

import { at, post } from "./api.js";
import "./events.js";
import "./drop.js";
import { localise } from "./words.js";

const WAIT_MS = 2000; // between two looks whether digitd has taken the model
const list = document.getElementById("models-list");
const said = document.getElementById("models-said");
const problem = document.getElementById("models-problem");
const sure = document.getElementById("models-sure");
const title = document.getElementById("models-sure-what");
const text = document.getElementById("models-sure-text");
const yes = document.getElementById("models-yes");
let act = null; // what the question is about

const LATER = "digitd takes it at its next look. Files that have their row keep it.";

async function draw() {
  try {
    const response = await fetch(at("/models/list"));
    if (!response.ok) return;
    list.innerHTML = await response.text(); // every value in it is escaped
    localise(list);
  } catch { /* the events tell when the server is back */ }
  wait();
}

// Until digitd reads with the model in use, look again.
function wait() {
  if (list.querySelector("[data-waiting]") === null) return;
  setTimeout(() => {
    if (list.contains(document.activeElement) || sure.open) wait();
    else draw();
  }, WAIT_MS);
}

function ask(what, detail, button, path, data) {
  title.textContent = what;
  text.textContent = detail;
  yes.textContent = button;
  act = { path, data };
  sure.showModal();
}

list.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button === null) return;
  const { promote, rollback, before } = button.dataset;
  if (promote) ask(`Use ${promote}?`, LATER, "Use it", "/api/models/promote", { id: promote });
  if (rollback) ask(`Go back to ${before}?`, LATER, "Go back", "/api/models/rollback", { seen: rollback });
});

document.getElementById("models-no").addEventListener("click", () => sure.close());

yes.addEventListener("click", async () => {
  yes.disabled = true;
  problem.hidden = true;
  said.textContent = "";
  try {
    const done = await post(act.path, act.data);
    const skipped = (done.skipped ?? []).map((one) => ` Skipped: ${one}.`).join("");
    said.textContent = `From now on ${done.now} is in use.${skipped}`;
  } catch (failure) {
    problem.textContent = failure.message;
    problem.hidden = false;
  }
  yes.disabled = false;
  sure.close();
  await draw();
  document.querySelector("#models h1").focus();
});

localise(list);
wait();
