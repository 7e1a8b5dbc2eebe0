// The page of what a reread changed: it only has what all pages have.

import "./events.js";
import "./drop.js";
