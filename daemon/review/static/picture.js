// Load pictures ahead, show one, zoom it.

import { AGAIN_MS, at, refusal } from "./api.js";

const SMALL = 200; // px; below this, single pixels are shown
const STEP = 1.2;
const MOST = 20;

const frame = document.getElementById("picture");
const missing = document.getElementById("missing");
const loaded = new Map(); // row id -> image element
let image = frame.querySelector("img");
let zoom = { scale: 1, x: 0, y: 0 };
let turns = 0; // by 90 degrees, clockwise

// Return the loaded or loading image of a row; it stays in memory for the last few rows.
export function prefetch(id) {
  let found = loaded.get(id);
  if (found === undefined) {
    found = new Image();
    found.src = at(`/image/${id}/large`);
    found.ready = found.decode().then(() => true, () => false);
    loaded.set(id, found);
    if (loaded.size > 24) loaded.delete(loaded.keys().next().value);
  }
  return found;
}

export async function show(item) {
  const next = prefetch(item.id);
  next.alt = `${item.file}, as it was dropped`;
  next.hidden = false;
  image.replaceWith(next);
  image = next;
  turns = item.turns ?? 0;
  reset();
  image.className = "";
  missing.hidden = true;
  const isShown = await next.ready;
  if (image !== next) return; // another item is shown by now
  next.classList.toggle("small", Math.max(next.naturalWidth, next.naturalHeight) < SMALL);
  if (!isShown) {
    loaded.delete(item.id);
    next.hidden = true;
    const why = await refusal(`/image/${item.id}/large`);
    if (image !== next) return;
    missing.textContent = `${why ?? "the picture did not arrive, and is asked for again"}. You can answer all the same.`;
    missing.hidden = false;
    if (why === null) setTimeout(() => { if (image === next) show(item); }, AGAIN_MS);
  }
}

function apply() {
  // Whoever asks for the size makes the browser lay out the page at once, and again for the frame.
  const [width, height] = turns ? [frame.clientWidth, frame.clientHeight] : [0, 0];
  const isLying = turns % 2 === 1;
  // On its side it has the frame's height as its width, so that it fills the frame again.
  image.style.width = isLying ? `${height}px` : "";
  image.style.height = isLying ? `${width}px` : "";
  const [right, down] = [[0, 0], [width, 0], [width, height], [0, height]][turns];
  const turned = turns ? ` translate(${right}px, ${down}px) rotate(${90 * turns}deg)` : "";
  image.style.transformOrigin = "0 0";
  image.style.transform = `translate(${zoom.x}px, ${zoom.y}px) scale(${zoom.scale})${turned}`;
}

// Turn the view of the row that is shown by 90 degrees clockwise.
export function turn(item) {
  item.turns = ((item.turns ?? 0) + 1) % 4;
  turns = item.turns;
  reset();
}

function reset() {
  zoom = { scale: 1, x: 0, y: 0 };
  apply();
}

export function zoomBy(factor, x = frame.clientWidth / 2, y = frame.clientHeight / 2) {
  const scale = Math.min(MOST, Math.max(1, zoom.scale * factor));
  const change = scale / zoom.scale;
  zoom = scale === 1 ? { scale, x: 0, y: 0 } : {
    scale,
    x: x - (x - zoom.x) * change,
    y: y - (y - zoom.y) * change,
  };
  apply();
}

export const zoomIn = () => zoomBy(STEP);
export const zoomOut = () => zoomBy(1 / STEP);

frame.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = frame.getBoundingClientRect();
  zoomBy(event.deltaY < 0 ? STEP : 1 / STEP, event.clientX - box.left, event.clientY - box.top);
}, { passive: false });
frame.addEventListener("dblclick", reset);
frame.addEventListener("pointermove", (event) => {
  if (event.buttons !== 1 || zoom.scale === 1) return;
  zoom.x += event.movementX;
  zoom.y += event.movementY;
  apply();
});
new ResizeObserver(apply).observe(frame);
frame.addEventListener("dragstart", (event) => event.preventDefault());
