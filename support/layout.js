// Find what leaves the window, is cut off, or lies on something else. What scrolls or has an ellipsis is
// meant to be cut; a bar that sticks to the window's edge is meant to lie on what scrolls below it.

window.findLayoutFaults = () => {
  const faults = [];
  const { scrollWidth } = document.scrollingElement;
  if (scrollWidth > innerWidth) faults.push(`the page is ${scrollWidth} px wide`);
  const top = document.querySelector("dialog[open]") ?? document.body;
  const style = (one) => getComputedStyle(one);
  const floats = (one) => one !== null && one !== top
    && (["sticky", "fixed", "absolute"].includes(style(one).position) || floats(one.parentElement));
  const isShown = (one) => one.checkVisibility({ visibilityProperty: true })
    && !one.closest(".hidden, svg, thead") && !floats(one);
  // The part of a box that its ancestors do not cut off.
  const visible = (element, box) => {
    let { left, top: upper, right, bottom } = box;
    for (let up = element; up !== null && up !== document.body; up = up.parentElement) {
      if (style(up).overflowX === "visible") continue;
      const frame = up.getBoundingClientRect();
      left = Math.max(left, frame.left);
      right = Math.min(right, frame.right);
      upper = Math.max(upper, frame.top);
      bottom = Math.min(bottom, frame.bottom);
    }
    return { left, upper, right, bottom };
  };
  const boxes = [];
  const add = (element, name, box) => {
    const part = visible(element, box);
    if (part.right - part.left < 1 || part.bottom - part.upper < 1) return;
    if (part.left < -1 || part.right > innerWidth + 1) faults.push(`${name} leaves the window`);
    boxes.push({ element, name, ...part });
  };
  for (const one of top.querySelectorAll("a, button, input, select, label.button, img")) {
    if (isShown(one) && !one.matches("#picture img")) {
      add(one, `<${one.localName} ${one.id}> ${one.textContent.trim()}`, one.getBoundingClientRect());
    }
  }
  const texts = document.createTreeWalker(top, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text !== null; text = texts.nextNode()) {
    const element = text.parentElement;
    if (!text.data.trim() || element.matches("script, option, title") || !isShown(element)) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    for (const box of range.getClientRects()) add(element, `“${text.data.trim()}”`, box);
  }
  for (const one of top.querySelectorAll("*")) {
    const { overflowX, textOverflow } = style(one);
    if (!isShown(one) || !["hidden", "clip"].includes(overflowX) || textOverflow === "ellipsis") continue;
    if (one.matches("#picture, img") || !one.textContent.trim()) continue;
    const isCut = one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1;
    if (isCut) faults.push(`<${one.localName} ${one.id}> cuts “${one.textContent.trim()}”`);
  }
  const related = (a, b) => a.element.contains(b.element) || b.element.contains(a.element);
  for (const [index, a] of boxes.entries()) {
    for (const b of boxes.slice(index + 1)) {
      const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const height = Math.min(a.bottom, b.bottom) - Math.max(a.upper, b.upper);
      if (width > 2 && height > 4 && !related(a, b)) faults.push(`${a.name} lies on ${b.name}`);
    }
  }
  return faults;
};
