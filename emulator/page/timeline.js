"use strict";
// Draws a timeline in lanes on a canvas. `data` has columns of whole numbers, sorted by start, in microseconds.

const LANE = 15, GAP = 9, HEAD = 26, SIDE = 118;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function duration(microseconds) {
  if (!microseconds) return "0 s";
  if (microseconds < 1000) return microseconds.toFixed(0) + " us";
  if (microseconds < 1e6) return (microseconds / 1e3).toFixed(microseconds < 1e4 ? 1 : 0) + " ms";
  return (microseconds / 1e6).toFixed(microseconds < 1e7 ? 2 : 1) + " s";
}

// Steps of 1, 2 or 5 times a power of ten, about `wanted` of them.
function stepOf(length, wanted) {
  const raw = length / wanted, power = 10 ** Math.floor(Math.log10(raw));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
}

class Timeline {
  constructor(canvas, colours) {
    this.canvas = canvas;
    this.colours = colours; // of each stage: the name of a custom property
    this.data = null;
    this.predicted = null;
    this.from = 0;
    this.to = 1;
    this.onmove = () => {};
    this.highlight = true;
    new ResizeObserver(() => this.draw()).observe(canvas.parentElement);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    matchMedia("print").addEventListener("change", () => this.draw());
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.grab(event));
    canvas.addEventListener("pointermove", (event) => this.point(event));
    canvas.addEventListener("pointerleave", () => say(""));
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  show(data, predicted) {
    this.data = data;
    this.predicted = predicted;
    for (const one of [data, predicted])
      if (one) one.longest = one.length.reduce((most, length) => Math.max(most, length), 0);
    this.tops = [];
    let y = HEAD;
    data.lanes.forEach((lane, place) => {
      if (place && data.lanes[place - 1].node !== lane.node) y += GAP;
      this.tops.push(y);
      y += predicted ? LANE * 1.8 : LANE;
    });
    this.height = y + 6;
    this.draw();
  }

  window(from, to) {
    const length = Math.max(20, to - from);
    this.from = from;
    this.to = from + length;
    this.draw();
    this.onmove();
  }

  x(time) {
    return SIDE + ((time - this.from) / (this.to - this.from)) * (this.width - SIDE - 6);
  }

  time(x) {
    return this.from + ((x - SIDE) / (this.width - SIDE - 6)) * (this.to - this.from);
  }

  draw() {
    if (!this.data) return;
    const ratio = devicePixelRatio || 1, canvas = this.canvas;
    this.width = canvas.parentElement.clientWidth - 2;
    canvas.style.height = this.height + "px";
    canvas.width = this.width * ratio;
    canvas.height = this.height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = "12px system-ui, sans-serif";
    this.ink = colour("--ink");
    this.grid(pen);
    this.names(pen);
    pen.save();
    pen.beginPath();
    pen.rect(SIDE, 0, this.width - SIDE, this.height);
    pen.clip();
    this.spans(pen, this.data, 0, LANE - 2, this.highlight);
    if (this.predicted) this.spans(pen, this.predicted, LANE - 1, LANE * 0.6, false);
    pen.restore();
  }

  grid(pen) {
    const step = stepOf(this.to - this.from, this.width / 110);
    pen.strokeStyle = colour("--line");
    pen.fillStyle = colour("--soft");
    pen.textAlign = "center";
    const digits = Math.max(0, 6 - Math.floor(Math.log10(step)));
    for (let at = Math.ceil(this.from / step) * step; at <= this.to; at += step) {
      const x = Math.round(this.x(at)) + 0.5;
      pen.beginPath();
      pen.moveTo(x, HEAD - 6);
      pen.lineTo(x, this.height);
      pen.stroke();
      pen.fillText((at / 1e6).toFixed(digits) + " s", x, 14);
    }
    pen.strokeStyle = colour("--soft");
    pen.setLineDash([4, 3]);
    for (const start of this.data.rounds || []) {
      if (start < this.from || start > this.to) continue;
      const x = Math.round(this.x(start)) + 0.5;
      pen.beginPath();
      pen.moveTo(x, HEAD - 4);
      pen.lineTo(x, this.height);
      pen.stroke();
    }
    pen.setLineDash([]);
    pen.strokeStyle = pen.fillStyle = this.ink;
    let free = 0; // where the next title may begin
    for (const event of this.data.events) {
      const x = this.x(event.at), title = ` ${event.title} `, length = pen.measureText(title).width;
      if (x < SIDE || x > this.width) continue;
      pen.fillRect(x - 1, HEAD - 8, 2, this.height);
      const left = x + length > this.width ? x - length : x;
      if (left < free) continue;
      pen.textAlign = "left";
      pen.fillText(title, left, HEAD - 3);
      free = left + length;
    }
  }

  names(pen) {
    pen.textAlign = "right";
    this.data.lanes.forEach((lane, place) => {
      const first = !place || this.data.lanes[place - 1].node !== lane.node;
      pen.fillStyle = first ? this.ink : colour("--soft");
      const label = lane.way === "compute" ? lane.node : lane.way + (lane.way === "up" ? " \u2191" : " \u2193");
      pen.fillText(first && lane.way !== "compute" ? lane.node + " " + label : label, SIDE - 8, this.tops[place] + 11, SIDE - 12);
    });
  }

  // The first span that may still be seen: none is longer than the longest.
  first(data) {
    let low = 0, high = data.start.length;
    const wanted = this.from - data.longest;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (data.start[middle] < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  spans(pen, data, below, height, highlight) {
    const colours = data.stages.map((stage) => colour(this.colours[stage] || "--soft"));
    const lanes = new Map(this.data.lanes.map((lane, place) => [lane.node + " " + lane.way, place]));
    const tops = data.lanes.map((lane) => this.tops[lanes.get(lane.node + " " + lane.way)]);
    const critical = [];
    for (let i = this.first(data); i < data.start.length && data.start[i] <= this.to; i++) {
      const left = this.x(data.start[i]), width = Math.max(0.7, this.x(data.start[i] + data.length[i]) - left);
      const top = tops[data.lane[i]];
      if (top === undefined || left + width < SIDE) continue;
      pen.globalAlpha = highlight && !data.critical[i] ? 0.38 : 1;
      pen.fillStyle = colours[data.stage[i]];
      pen.fillRect(left, top + below, width, height);
      if (highlight && data.critical[i] && width > 2) critical.push([left, top + below, width]);
    }
    pen.globalAlpha = 1;
    pen.strokeStyle = this.ink;
    pen.lineWidth = 1.5;
    for (const [left, top, width] of critical) pen.strokeRect(left + 0.5, top + 0.5, width - 1, height - 1);
    pen.lineWidth = 1;
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect(), x = event.clientX - box.x, y = event.clientY - box.y;
    const time = this.time(x), data = this.data, some = 3 * (this.to - this.from) / this.width;
    const lane = this.tops.findLastIndex((top) => y >= top);
    if (x < SIDE || lane < 0 || y > this.tops[lane] + LANE) return null;
    let found = null;
    for (let i = this.first(data); i < data.start.length && data.start[i] <= time + some; i++) {
      if (data.lane[i] === lane && data.start[i] + data.length[i] >= time - some) found = i;
    }
    return found;
  }

  words(i) {
    const data = this.data, node = data.nodes[data.node[i]];
    const who = data.peer[i] < 0 ? node : `${node} \u2192 ${data.nodes[data.peer[i]]}, ${data.bytes[i]} bytes`;
    return `${data.stages[data.stage[i]].replaceAll("_", " ")}: ${duration(data.length[i])}, ${who}` +
      (data.critical[i] ? "; on the critical path" : "");
  }

  point(event) {
    if (!this.data || event.buttons) return;
    const pointed = event.clientX - this.canvas.getBoundingClientRect().x;
    const happened = this.data.events.filter((one) => Math.abs(this.x(one.at) - pointed) < 4);
    if (happened.length) return say(happened.map((one) => one.title + (one.detail && `: ${one.detail}`)).join("; "), event.clientX, event.clientY);
    const i = this.at(event);
    say(i === null ? "" : this.words(i), event.clientX, event.clientY);
  }

  wheel(event) {
    if (!event.ctrlKey && !event.shiftKey && Math.abs(event.deltaY) > Math.abs(event.deltaX)) return;
    event.preventDefault();
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) return this.shift((event.deltaX || event.deltaY) / 800);
    this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.time(event.clientX - this.canvas.getBoundingClientRect().x));
  }

  zoom(factor, around = (this.from + this.to) / 2) {
    this.window(around - (around - this.from) * factor, around + (this.to - around) * factor);
  }

  shift(share) {
    const by = share * (this.to - this.from);
    this.window(this.from + by, this.to + by);
  }

  grab(event) {
    const start = event.clientX, from = this.from, to = this.to;
    const move = (moved) => {
      const by = ((start - moved.clientX) / (this.width - SIDE)) * (to - from);
      this.window(from + by, to + by);
    };
    const drop = () => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", drop);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", drop);
  }

  key(event) {
    const act = {
      ArrowLeft: () => this.shift(-0.2), ArrowRight: () => this.shift(0.2),
      "+": () => this.zoom(0.7), "=": () => this.zoom(0.7), "-": () => this.zoom(1.4),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }
}
