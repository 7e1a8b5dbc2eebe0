// The items of the review page: those that were shown, and those that come next.

import { get } from "./api.js";
import { prefetch } from "./picture.js";

const AHEAD = 4; // pictures that are loaded before they are needed

export class Queue {
  // given: one row of the gallery, or null for the queue.
  constructor(given) {
    this.isQueue = given === null;
    this.items = given === null ? [] : [given];
    this.position = 0;
    this.isLast = !this.isQueue;
    this.loading = null;
  }

  get current() {
    return this.items[this.position] ?? null;
  }

  // Ask for more items when few are left; answer when they are there.
  async fill() {
    if (!this.isQueue || this.loading !== null) return this.loading;
    const open = this.items.slice(this.position).filter((item) => !item.label).length;
    if (open > AHEAD && !this.isLast) return null;
    this.loading = this.load();
    try {
      return await this.loading;
    } finally {
      this.loading = null;
    }
  }

  async load() {
    // From the beginning: a less confident row may have arrived. The server has indexed the answers
    // that it stored, or skips them.
    let after = "";
    let data;
    const known = new Set(this.items.map((item) => item.id));
    do {
      data = await get(`/api/queue?after=${encodeURIComponent(after)}`);
      const fresh = data.items.filter((item) => !known.has(item.id));
      this.items.push(...fresh);
      if (fresh.length) break;
      after = data.items.at(-1)?.place ?? "";
    } while (!data.is_last && after);
    this.isLast = data.is_last;
    this.ahead();
    return data.state;
  }

  // Load the next pictures.
  ahead() {
    for (const item of this.items.slice(this.position, this.position + AHEAD)) prefetch(item.id);
  }

  // Go to the next item that nobody has answered; return whether there is one.
  advance() {
    let next = this.position + 1;
    while (next < this.items.length && this.items[next].label) next += 1;
    this.position = next;
    this.ahead();
    return this.current !== null;
  }

  move(step) {
    const next = this.position + step;
    if (next >= 0 && next < this.items.length) this.position = next;
    this.ahead();
  }

  // Put the current item behind all that are known.
  postpone() {
    const [item] = this.items.splice(this.position, 1);
    this.items.push(item);
    this.ahead();
  }

  // Show an item again.
  back(item) {
    const place = this.items.indexOf(item);
    if (place >= 0) this.position = place;
  }

  find(id) {
    return this.items.find((item) => item.id === id) ?? null;
  }
}
