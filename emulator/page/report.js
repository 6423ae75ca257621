"use strict";
// The timeline of one run at a time: its data are unpacked when they are first asked for.

async function unpack(id) {
  const packed = document.getElementById(id).textContent.trim();
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

async function timelines() {
  const part = document.getElementById("timeline");
  if (!part) return;
  const pick = (name) => part.querySelector(`[name=${name}]`);
  const canvas = part.querySelector("canvas"), legend = part.querySelector(".legend");
  const view = new Timeline(canvas, JSON.parse(part.dataset.colours));
  const unpacked = new Map();
  let data = null;

  function round(number, count = 1) {
    const last = data.rounds.length - 1;
    const from = Math.min(Math.max(1, number), last), to = Math.min(from + count, last + 1);
    const begin = data.rounds[from - 1], end = data.rounds[to - 1], margin = (end - begin) * 0.02;
    view.window(begin - margin, end + margin);
  }

  // The critical path of a round in words, for those who cannot point at its bars.
  function path(number) {
    const steps = [];
    for (let i = 0; i < data.start.length && data.start[i] < data.rounds[number]; i++)
      if (data.critical[i] && data.start[i] >= data.rounds[number - 1]) {
        const to = data.peer[i] < 0 ? "" : ` \u2192 ${data.nodes[data.peer[i]]}`;
        steps.push(`${data.stages[data.stage[i]].replaceAll("_", " ")} ${data.nodes[data.node[i]]}${to} ${duration(data.length[i])}`);
      }
    return `Critical path of round ${number}: ${[...new Set(steps)].join(", ")}.`;
  }

  let told = "";
  view.onmove = () => {
    const first = data.rounds.findLastIndex((start) => start <= view.from + (view.to - view.from) * 0.1) + 1;
    const number = Math.max(1, Math.min(first, data.rounds.length - 1));
    if (document.activeElement !== pick("round")) pick("round").value = number;
    if (told !== `${pick("run").value} ${number}`) part.querySelector(".path").textContent = path(number);
    told = `${pick("run").value} ${number}`;
    pick("from").value = (Math.max(0, view.from) / 1e6).toFixed(3);
    pick("to").value = (view.to / 1e6).toFixed(3);
    canvas.setAttribute("aria-label",
      `Timeline of ${pick("run").selectedOptions[0].text}, ${(view.from / 1e6).toFixed(3)} to ${(view.to / 1e6).toFixed(3)} s of emulated time`);
  };

  async function run() {
    const id = pick("run").value;
    if (!unpacked.has(id)) unpacked.set(id, await unpack(id));
    data = unpacked.get(id);
    const predicted = data.predicted && pick("predicted").checked ? data.predicted : null;
    pick("predicted").closest("label").hidden = !data.predicted;
    pick("round").max = data.rounds.length - 1;
    part.querySelector("output").textContent = `of ${data.rounds.length - 1}`;
    legend.replaceChildren(...data.stages.map((stage) => {
      const entry = document.createElement("span"), mark = document.createElement("i");
      mark.style.background = `var(${view.colours[stage]})`;
      entry.append(mark, stage.replaceAll("_", " "));
      return entry;
    }));
    view.show(data, predicted);
    part.dataset.drawn = id;
  }

  pick("run").addEventListener("change", async () => { await run(); round(+pick("round").value); });
  pick("predicted").addEventListener("change", run);
  pick("critical").addEventListener("change", () => { view.highlight = pick("critical").checked; view.draw(); });
  pick("round").addEventListener("input", () => round(+pick("round").value));
  for (const name of ["from", "to"])
    pick(name).addEventListener("change", () => {
      if (pick("from").value && pick("to").value) view.window(1e6 * pick("from").value, 1e6 * pick("to").value);
    });
  const buttons = {
    previous: () => round(+pick("round").value - 1), next: () => round(+pick("round").value + 1),
    ten: () => round(+pick("round").value, 10), all: () => round(1, data.rounds.length),
    slowest: () => {
      const lengths = data.rounds.slice(1).map((end, place) => end - data.rounds[place]);
      round(1 + lengths.indexOf(Math.max(...lengths)));
    },
    in: () => view.zoom(0.6), out: () => view.zoom(1.6),
  };
  for (const [name, act] of Object.entries(buttons))
    part.querySelector(`[data-do=${name}]`).addEventListener("click", act);
  await run();
  round(Math.min(2, data.rounds.length - 1));
}

timelines();
