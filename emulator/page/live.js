"use strict";
// Asks the testbed for all it shows, a few times a second, and goes on asking when it does not answer.
const EVERY = 400, PATIENCE = 3000, KEY = "edgebed-token";

const $ = (selector, within = document) => within.querySelector(selector);
const per = (bits) => bits === null ? "unlimited" : bits === undefined ? "\u2013" :
  bits >= 1e9 ? (bits / 1e9).toPrecision(3) + " Gbit/s" : bits >= 1e6 ? (bits / 1e6).toPrecision(3) + " Mbit/s" :
  (bits / 1e3).toPrecision(3) + " kbit/s";
const seconds = (value) => value === null || value === undefined ? "\u2013" : duration(1e6 * value);
const clock = (left) => [left / 3600, (left / 60) % 60, left % 60]
  .map((part, place) => String(Math.floor(part)).padStart(place ? 2 : 1, "0")).join(":");
const share = (value) => value === null ? "\u2013" : (100 * value).toFixed(1) + " %";

if (location.hash.startsWith("#token=")) {
  localStorage.setItem(KEY, decodeURIComponent(location.hash.slice(7)));
  history.replaceState(null, "", location.pathname);
}

async function ask(path, options = {}) {
  const headers = { Authorization: `Bearer ${localStorage.getItem(KEY) || ""}`, "Content-Type": "application/json" };
  const answer = await fetch(path, { ...options, headers, signal: AbortSignal.timeout(PATIENCE) });
  const said = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(said.detail), { status: answer.status });
  return said;
}

// -- what is shown

const timeline = new Timeline($("#timeline canvas"), {});
const accuracy = new Curves($("#accuracy"), (value) => (100 * value).toFixed(0) + " %");
const latency = new Curves($("#latency"), (value) => duration(1e6 * value));
let followed = true;
timeline.onmove = () => { followed = false; };
timeline.canvas.addEventListener("dblclick", followAgain);
timeline.canvas.addEventListener("keydown", (event) => { if (event.key === "Home") followAgain(event); });

function followAgain(event) {
  event.preventDefault();
  followed = true;
  refresh();
}

function definitions(list, entries) {
  const wanted = entries.flat().join("\n");
  if (list.dataset.shown === wanted) return;
  list.dataset.shown = wanted;
  list.replaceChildren(...entries.map(([name, value]) => {
    const pair = document.createElement("div"), term = document.createElement("dt"), said = document.createElement("dd");
    term.textContent = name;
    said.textContent = value;
    if (list.id !== "now") pair.style.display = "contents";
    pair.append(term, said);
    return pair;
  }));
}

function showStatus(status) {
  const run = status.runs.find((one) => one.run === status.run);
  document.title = `${status.run || "idle"}: ${status.experiment}, edgebed`;
  $("#title").textContent = `${status.experiment} on testbed ${status.testbed}`;
  $("#subtitle").textContent = `${status.runtime} runtime, time scale ${status.time_scale}, results in ${status.folder}`;
  definitions($("#now"), [
    ["run", status.run || "none now"],
    ["round", run && status.round <= run.rounds ? `${status.round} of ${run.rounds}` : status.round],
    ["accuracy", share(status.accuracy)],
    ["round latency", seconds(status.round_latency_s)],
    ["busy longest", status.slowest || "\u2013"],
    ["left, on this host", run && run.eta_s !== null ? clock(run.eta_s) : "\u2013"],
    ["done", status.runs_done.join(", ") || "\u2013"],
    ["to come", status.runs_left.join(", ") || "\u2013"],
  ]);
}

function showTimeline(data) {
  if (!data) return;
  timeline.colours = data.colours;
  $("#timeline .legend").replaceChildren(...data.stages.map((stage) => {
    const entry = document.createElement("span"), mark = document.createElement("i");
    mark.style.background = `var(${data.colours[stage]})`;
    entry.append(mark, stage.replaceAll("_", " "));
    return entry;
  }));
  const end = data.rounds[data.rounds.length - 1];
  if (followed) [timeline.from, timeline.to] = [-0.01 * end, 1.03 * Math.max(end, 20)];
  timeline.show(data, null);
  $("#timeline").dataset.rounds = data.numbers.join();
  $("#timeline .note").textContent = `Round ${data.numbers.join(", ")}: from the last whole one on, one after the other. ` +
    "What each waited for, its critical path, stands out; of a round that is not over, so far. " +
    "Drag, arrow keys, + and \u2212 look closer; Home or a double click follows again.";
  timeline.canvas.setAttribute("aria-label", `Timeline of rounds ${data.numbers.join(", ")}`);
}

function card(kind, name, title) {
  const made = $("#node").content.cloneNode(true).firstElementChild;
  made.id = `${kind}-${name}`;
  $("h3", made).textContent = title;
  const said = $(".said", made);
  async function change(path, options) {
    said.className = "said";
    said.textContent = "\u2026";
    try {
      const done = await ask(`/${kind}s/${encodeURIComponent(name)}${path}`, options);
      said.textContent = Object.values(done.details).join("; ") || "it was so before";
    } catch (fault) {
      said.className = "said bad";
      said.textContent = fault.message;
    }
    refresh();
  }
  $(".apply", made).addEventListener("submit", (event) => {
    event.preventDefault();
    const profile = new FormData(event.target).get("profile");
    change("/apply", { method: "POST", body: JSON.stringify({ profile }) });
  });
  for (const way of ["up", "down"]) {
    const slider = $(`[name=${way}]`, made);
    slider.addEventListener("input", () => { slider.dataset.held = "1"; slider.nextElementSibling.textContent = per(10 ** slider.value); });
    slider.addEventListener("change", async () => {
      const rate = Math.round(10 ** slider.value) + " bit/s";
      await change("", { method: "PATCH", body: JSON.stringify({ link: { [way]: { rate } } }) });
      delete slider.dataset.held;
    });
  }
  return made;
}

function showNode(node, slowest) {
  const made = document.getElementById(`node-${node.name}`) ||
    $("#nodes").appendChild(card("node", node.name, `${node.name} (${node.role})`));
  made.classList.toggle("slowest", node.name === slowest);
  const state = $(".state", made), traffic = node.traffic_bit_s || {};
  state.textContent = node.state + (node.reason ? `: ${node.reason}` : "");
  state.classList.toggle("bad", ["failed", "silent", "disconnected"].includes(node.state));
  definitions($("dl", made), [
    ["device", node.device.name],
    ["link", node.link.name],
    ["rate up", node.rate_said.up],
    ["rate down", node.rate_said.down],
    ["sends", per(traffic.up)],
    ["receives", per(traffic.down)],
    ["busy in a round", seconds(node.busy_s)],
  ]);
  showRates(made, node.rate_bit_s);
}

function showSegment(segment) {
  let made = document.getElementById(`segment-${segment.name}`);
  if (!made) {
    made = $("#segments").appendChild(card("segment", segment.name, segment.name));
    $("[label=devices]", made).remove();
    $("#shared").hidden = false;
  }
  definitions($("dl", made), [
    ["link", segment.link.name],
    ["rate up", segment.rate_said.up],
    ["rate down", segment.rate_said.down],
    ["nodes", segment.nodes.join(", ")],
  ]);
  showRates(made, segment.rate_bit_s);
}

function showRates(made, rates) {
  for (const way of ["up", "down"]) {
    const slider = $(`[name=${way}]`, made), rate = rates[way];
    if (slider.dataset.held) continue;
    slider.value = rate === null ? slider.max : Math.log10(rate);
    slider.setAttribute("aria-valuetext", per(rate));
    slider.nextElementSibling.textContent = per(rate);
  }
}

let newest = 0;
function showEvents(events) {
  const last = events.length ? events[events.length - 1].number : 0;
  if (last === newest) return;
  newest = last;
  $("#events").replaceChildren(...events.toReversed().map((event) => {
    const line = document.createElement("li"), when = document.createElement("time");
    when.textContent = new Date(1000 * event.at).toLocaleTimeString();
    line.className = event.warning ? "warning" : "";
    line.append(when, (event.warning ? "Warning: " : "") + event.says);
    return line;
  }));
}

function show(now) {
  showStatus(now.status);
  showTimeline(now.timeline);
  const of = (what) => Object.fromEntries(Object.entries(now.curves).map(([run, curves]) => [run, curves[what]]));
  accuracy.show(of("accuracy"), 1);
  latency.show(of("latency"));
  for (const node of now.nodes) showNode(node, now.status.slowest);
  for (const segment of now.segments) showSegment(segment);
  showEvents(now.events);
  document.body.dataset.shown = 1 + Number(document.body.dataset.shown || 0);
}

// -- asking

function admitted(yes) {
  $("#ask").hidden = yes;
  $("#live").hidden = !yes;
}

let asking = null;
async function once() {
  try {
    const now = await ask("/live");
    admitted(true);
    $("#connection").textContent = "";
    show(now);
  } catch (fault) {
    if (fault.status === 401) {
      admitted(false);
      $("#connection").textContent = localStorage.getItem(KEY) ? "The token is not this testbed's." : "";
      return false;
    }
    $("#connection").textContent = "No answer from the testbed: it is over, or cannot be reached. What is shown is the last that was heard; asking again.";
    console.debug(fault);
  }
  return true;
}

function refresh() {
  asking ??= once().finally(() => { asking = null; });
  return asking;
}

async function follow() {
  while (await refresh()) await new Promise((resume) => setTimeout(resume, document.hidden ? 5 * EVERY : EVERY));
}

$("#ask").addEventListener("submit", (event) => {
  event.preventDefault();
  localStorage.setItem(KEY, new FormData(event.target).get("token").trim());
  follow();
});
follow();
