import { act as post, watch } from "./api.js";
import { controlPanel } from "./control.js";
import { attr, text } from "./dom.js";
import { eventList } from "./events.js";
import { count, duration, rate, share } from "./format.js";
import { linkTable } from "./links.js";
import { map } from "./map.js";
import { regionPanels } from "./regions.js";

const $ = (id) => document.getElementById(id);

// say shows what came of an action. Good news does not hide bad news.
let hush;
function say(words, bad = false) {
  if (!bad && $("said").textContent && $("said").dataset.bad === "true") return;
  text($("said"), words);
  attr($("said"), "data-bad", bad);
  clearTimeout(hush);
  hush = setTimeout(() => text($("said"), ""), bad ? 12_000 : 4000);
}

// act sends actions one after the other and shows the state after the last.
// The button cannot be pressed meanwhile, so a double click is one action; it
// is not disabled, which would lose the keyboard's place.
async function act(button, actions, done) {
  if (button?.ariaBusy === "true") return;
  if (button) button.ariaBusy = "true";
  try {
    for (const action of actions) show(await post(action), false);
    say(done);
  } catch (err) {
    say(err.message, true);
  } finally {
    if (button) button.ariaBusy = "false";
  }
}

const picture = map($("map"));
const control = controlPanel($("control"));
const regions = regionPanels($("regions"), act);
const links = linkTable($("links"), $("plane"), act);
const events = eventList($("events"), $("no-events"), (words) => text($("aloud"), words));

let current, seenAt = 0;

// show brings the page up to a state. Sparklines take a sample only from the
// stream, whose states come at an even pace.
function show(state, sample) {
  if (current && state.uptimeMs < current.uptimeMs - 1000) { // started anew
    regions.clear();
    links.clear();
  }
  current = state;
  seenAt = Date.now();
  const t = state.totals;
  text($("topology"), state.topology + (state.primary ? `, primary ${state.primary}` : ""));
  text($("mode"), state.readAfterWrite);
  text($("uptime"), duration(state.uptimeMs));
  text($("writes"), rate(t.writesPerSecond));
  text($("reads"), share(t.readsLocal, t.readsLocal + t.readsRemote));
  text($("refused"), count(t.rungs.refused));
  $("shop").hidden = !state.shop;
  if (state.shop) attr($("shop"), "href", state.shop);
  picture.show(state);
  control.show(state);
  regions.show(state, sample);
  links.show(state, sample);
  events.state(state);
}

// freshness says how old the figures are. A stream may stand and yet bring
// nothing, so their age is judged too.
let up = false;
function freshness() {
  const age = seenAt ? Date.now() - seenAt : 0;
  const fresh = up && age < 3000;
  attr($("stream"), "data-state", fresh ? "ok" : "cut");
  text($("stream"), fresh ? "✓ live" : "✕ not live");
  document.body.classList.toggle("old", !fresh && seenAt > 0);
  $("banner").hidden = fresh;
  if (fresh) return;
  // The age is not read aloud: it would be, every second.
  text($("news"), seenAt ? "The figures are old. Reconnecting…" : "The server does not answer, or too many pages watch. Connecting…");
  text($("age"), seenAt ? `No news for ${duration(age)}.` : "");
}
watch({
  state: (s) => { show(s, true); freshness(); },
  event: (e) => events.add(e),
  health: (ok) => { up = ok; if (!ok || seenAt) freshness(); },
});
setInterval(freshness, 1000);

$("heal").addEventListener("click", () => act($("heal"), [{ kind: "heal" }], "Everything healed"));

const ask = $("ask");
$("restart").addEventListener("click", () => {
  const now = current?.topology;
  for (const r of ask.querySelectorAll("input")) r.checked = r.value !== now;
  ask.returnValue = "";
  ask.showModal();
});
ask.addEventListener("close", () => {
  if (ask.returnValue !== "yes") return;
  const topology = ask.querySelector("input:checked")?.value;
  act($("restart"), [{ kind: "topology", topology }], `Started anew, ${topology}`);
});
