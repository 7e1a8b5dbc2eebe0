// Hear from the server. Only a visible page listens: a browser allows six connections to a server.

import { at } from "./api.js";
import { coded, reads } from "./words.js";

const listeners = [];
const state = document.getElementById("state");
const word = document.getElementById("daemon");
const notice = document.getElementById("notice");
const UNAUTHORIZED = 401;
let source = null;
let isReloaded = false;
let count = Number(state.querySelector("[data-count=waiting]").textContent);

export function listen(listener) {
  listeners.push(listener);
}

// What the daemon is doing: reading, paused, hung, stopped, starting or unknown.
export function daemon() {
  return state.dataset.state;
}

// Return how many files wait to be read.
export function waiting() {
  return count;
}

function showDaemon(what, said) {
  state.dataset.state = what;
  // Only if it changes: a screen reader may read it again otherwise.
  if (word.textContent !== what) word.textContent = what;
  if (notice.dataset.said !== said) notice.replaceChildren(...coded(said));
  notice.dataset.said = said;
  notice.hidden = said === "";
}

// Loading the page again leads to the login, or says how to come in.
async function reloadIfLoggedOut() {
  const { status } = await fetch(at("/api/unseen/count")).catch(() => ({ status: 0 }));
  if (status !== UNAUTHORIZED || isReloaded) return;
  isReloaded = true; // once: whoever stays has an answer that is not stored
  location.reload();
}

function open() {
  if (source !== null || document.hidden) return;
  source = new EventSource(at("/events"));
  source.onopen = () => { document.getElementById("offline").hidden = true; };
  source.onmessage = (event) => {
    const data = JSON.parse(event.data);
    for (const place of document.querySelectorAll("[data-count]")) {
      const value = data.state[place.dataset.count];
      if (value !== null) place.textContent = value.toLocaleString("en");
    }
    count = data.state.waiting;
    showDaemon(data.state.daemon, data.state.notice);
    document.getElementById("stale").hidden = data.state.reads === reads;
    document.getElementById("empty").hidden = data.state.rows > 0 || data.state.indexing !== null;
    document.getElementById("indexing").hidden = data.state.indexing === null;
    for (const listener of listeners) listener(data);
  };
  source.onerror = (event) => {
    if (event.target !== source) return; // the page is being left
    document.getElementById("offline").hidden = false;
    showDaemon("unknown", "");
    if (source.readyState === EventSource.CLOSED) {
      source = null;
      setTimeout(open, 2000);
      reloadIfLoggedOut();
    }
  };
}

function close() {
  source?.close();
  source = null;
}

document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
addEventListener("pagehide", close);
addEventListener("pageshow", open);
open();
