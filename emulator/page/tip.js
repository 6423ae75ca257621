"use strict";
// Shows a mark's own description beside the pointer: that of the mark below it, or of the nearest one close by.
const tip = document.getElementById("tip");

function say(text, x, y) {
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - box.width - 4)) + "px";
  tip.style.top = (y + 18 + box.height > innerHeight ? y - box.height - 10 : y + 18) + "px";
}

function described(svg, event) {
  const below = event.target.closest('[role="graphics-symbol"][aria-label]:not([class])');
  if (below) return below;
  let nearest = null, least = 22 ** 2;
  for (const mark of svg.querySelectorAll('[aria-roledescription="point"][aria-label]')) {
    const box = mark.getBoundingClientRect();
    const away = (box.x + box.width / 2 - event.clientX) ** 2 + (box.y + box.height / 2 - event.clientY) ** 2;
    if (away < least) [nearest, least] = [mark, away];
  }
  return nearest;
}

for (const svg of document.querySelectorAll("figure svg")) {
  svg.addEventListener("pointermove", (event) => {
    const mark = described(svg, event);
    say(mark && mark.getAttribute("aria-label"), event.clientX, event.clientY);
  });
  svg.addEventListener("pointerleave", () => say(""));
}
