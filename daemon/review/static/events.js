// Hear from the server. Only a visible page listens: a browser allows six connections to a server.

import { at } from "./api.js";

const listeners = [];
let source = null;

export function listen(listener) {
  listeners.push(listener);
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
    document.getElementById("indexing").hidden = data.state.indexing === null;
    for (const listener of listeners) listener(data);
  };
  source.onerror = (event) => {
    if (event.target !== source) return; // the page is being left
    document.getElementById("offline").hidden = false;
    if (source.readyState === EventSource.CLOSED) {
      source = null;
      setTimeout(open, 2000);
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
