"use strict";
// Draws lines over rounds on a canvas, one for each run, told apart by colour and dash.
const SERIES = ["0072b2", "d55e00", "009e73", "cc79a7", "e69f00", "56b4e9", "222222"];
const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 2, 1, 2], [3, 5]];

class Curves {
  constructor(figure, shown) {
    this.canvas = figure.querySelector("canvas");
    this.legend = figure.querySelector(".legend");
    this.shown = shown; // a value in words
    this.runs = {};
    new ResizeObserver(() => this.draw()).observe(figure);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => say(""));
  }

  show(runs, most) {
    const names = Object.keys(runs).join();
    this.runs = runs;
    this.most = most;
    if (names !== this.names) this.legend.replaceChildren(...Object.keys(runs).map((run, place) => this.entry(run, place)));
    this.names = names;
    this.draw();
  }

  entry(run, place) {
    const entry = document.createElement("span"), mark = document.createElement("i");
    mark.style.background = `var(--c-${SERIES[place % SERIES.length]})`;
    entry.append(mark, run);
    return entry;
  }

  draw() {
    const canvas = this.canvas, ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    const points = Object.values(this.runs).flat();
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    if (!points.length || !width) return;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = "12px system-ui, sans-serif";
    const last = points.reduce((most, [x]) => Math.max(most, x), 1);
    const top = this.most || 1.1 * points.reduce((most, [, y]) => Math.max(most, y), 1e-9);
    const left = 52, right = width - 8, bottom = height - 22;
    this.x = (x) => left + (x / last) * (right - left);
    this.y = (y) => bottom - (y / top) * (bottom - 8);
    pen.strokeStyle = colour("--line");
    pen.fillStyle = colour("--soft");
    pen.textAlign = "right";
    for (let y = 0, step = stepOf(top, 4); y <= top * 1.001; y += step) {
      pen.beginPath();
      pen.moveTo(left, this.y(y));
      pen.lineTo(right, this.y(y));
      pen.stroke();
      pen.fillText(this.shown(y), left - 6, this.y(y) + 4);
    }
    pen.textAlign = "center";
    for (let x = 0, step = Math.max(1, stepOf(last, width / 90)); x <= last; x += step) pen.fillText(x, this.x(x), height - 6);
    pen.lineWidth = 2;
    Object.values(this.runs).forEach((line, place) => {
      pen.strokeStyle = pen.fillStyle = colour(`--c-${SERIES[place % SERIES.length]}`);
      pen.setLineDash(DASHES[place % DASHES.length]);
      pen.beginPath();
      for (const [x, y] of line) pen.lineTo(this.x(x), this.y(y));
      pen.stroke();
      if (line.length < 60) for (const [x, y] of line) pen.fillRect(this.x(x) - 2.5, this.y(y) - 2.5, 5, 5);
    });
    pen.setLineDash([]);
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    let found = "", least = 18 ** 2;
    for (const [run, line] of Object.entries(this.runs))
      for (const [x, y] of line) {
        const away = (this.x(x) + box.x - event.clientX) ** 2 + (this.y(y) + box.y - event.clientY) ** 2;
        if (away < least) [found, least] = [`${run}, round ${x}: ${this.shown(y)}`, away];
      }
    say(found, event.clientX, event.clientY);
  }
}
