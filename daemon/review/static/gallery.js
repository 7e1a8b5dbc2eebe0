// The gallery: tells when there are new files.

import { listen } from "./events.js";
import "./drop.js";

let wasIndexing = !document.getElementById("indexing").hidden;

for (const image of document.querySelectorAll(".card img")) {
  const hide = () => { image.style.visibility = "hidden"; };
  image.addEventListener("error", hide);
  if (image.complete && image.naturalWidth === 0) hide(); // it failed before this ran
}
listen((data) => {
  if (wasIndexing && data.state.indexing === null) location.reload();
  wasIndexing = data.state.indexing !== null;
  if (!wasIndexing && data.rows.some((row) => row.new)) {
    document.getElementById("new-rows").hidden = false;
  }
});
document.querySelector("#new-rows a").href = location.href;
