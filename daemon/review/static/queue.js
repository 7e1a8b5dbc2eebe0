// The items of the review page: those that were shown, and those that come next.

import { get } from "./api.js";
import { prefetch } from "./picture.js";

const AHEAD = 4; // pictures that are loaded before they are needed

// Return whether an item is still to be checked. A file that could not be read leaves the queue when it
// is retried. What somebody else has answered since it was shown here stays in its place until it is
// shown again: whoever has looked ahead may be typing the answers in that order.
function isOpen(item) {
  return Boolean(item.news) || (!item.label && (item.status !== "error" || item.can_retry));
}

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

  // Whether all items are known. A request that has not been answered may bring more.
  get isComplete() {
    return this.isLast && this.loading === null;
  }

  // Whether an item that was not put off is known to come next, or that none comes.
  get knowsNext() {
    return this.isComplete || this.items.slice(this.position + 1).some((item) => !item.isLater);
  }

  // Ask for more items when few are left; answer when they are there.
  async fill() {
    if (!this.isQueue) return;
    const open = this.items.slice(this.position).filter((item) => !item.label && !item.isLater).length;
    if (this.loading === null && open > AHEAD && !this.isLast) return;
    this.loading ??= this.load();
    try {
      await this.loading;
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
      for (const item of fresh) this.add(item);
      if (fresh.length) break;
      after = data.items.at(-1)?.place ?? "";
    } while (!data.is_last && after);
    this.isLast = data.is_last;
    this.ahead();
  }

  // Add an item behind the others, but before the files that could not be read, and before what was
  // put off.
  add(item) {
    const isBehind = (other) => other.isLater || (!item.can_retry && other.can_retry && !other.label);
    const place = this.items.findIndex((other, at) => at > this.position && isBehind(other));
    this.items.splice(place < 0 ? this.items.length : place, 0, item);
  }

  // Forget an item; return whether it was the current one.
  remove(item) {
    const place = this.items.indexOf(item);
    if (place < 0) return false;
    this.items.splice(place, 1);
    if (place < this.position) this.position -= 1;
    return place === this.position;
  }

  // Give the answer to an item to those with the same content that have none of their own.
  // undoneId: the id of the item whose answer was undone with it, or undefined.
  share(item, undoneId) {
    for (const other of this.items) {
      if (other === item || !item.sha256 || other.sha256 !== item.sha256) continue;
      if (other.label && !other.same_as && other.id !== undoneId) continue;
      other.label = item.label;
      other.by = item.by;
      other.source = "";
      other.same_as = item.label ? item.same_as ?? { id: item.id, file: item.file } : null;
    }
  }

  // Return whether a person may be answering an item ahead: it was shown, and comes next.
  isAwaited(item) {
    return this.isQueue && Boolean(item.isShown) && !item.label && this.items.indexOf(item) > this.position;
  }

  // Load the next pictures.
  ahead() {
    for (const item of this.items.slice(this.position, this.position + AHEAD)) prefetch(item.id);
  }

  // Go to the next item that nobody has answered, or when all are known, to the first that was passed
  // over. Return whether there is one.
  advance() {
    let next = this.items.findIndex((item, place) => place > this.position && isOpen(item));
    if (next < 0 && this.isLast) next = this.items.findIndex(isOpen);
    this.position = next < 0 ? this.items.length : next;
    this.ahead();
    return this.current !== null;
  }

  move(step) {
    const next = this.position + step;
    if (next >= 0 && next < this.items.length) this.position = next;
    this.ahead();
  }

  // Put the current item behind all others, also those that are not known yet.
  postpone() {
    const [item] = this.items.splice(this.position, 1);
    item.isLater = true;
    item.isShown = false;
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
