import { el, text } from "./dom.js";

const kept = 300;
const marks = {
  login: "→", logout: "←", revoke: "⊘", write: "✎", link: "⇄", region: "◉",
  "take-back": "↩", lost: "‼", rung: "≡", topology: "↻", control: "⚑",
};
// named tells whether the text needs no Region in front.
const named = (e) => !e.region || e.text.startsWith(e.region);
const grave = new Set(["lost"]);

export function eventList(list, empty, say) {
  let last = 0, waiting = [];

  // Lines are shown ten times a second, so that a thousand events a second cost
  // the page no more than those that it keeps.
  const line = (kind, ...children) => {
    if (waiting.length === 0) setTimeout(draw, 100);
    waiting.push([kind, children]);
    if (waiting.length > kept) waiting.shift();
  };
  const draw = () => {
    for (const [kind, children] of waiting) list.prepend(el("li", { className: grave.has(kind) ? "event grave" : "event" }, ...children));
    waiting = [];
    while (list.children.length > kept) list.lastElementChild.remove();
    empty.hidden = list.children.length > 0;
  };

  return {
    // state tells of a new run: its events count from 1 again.
    state(s) {
      if (s.lastEvent >= last) return;
      last = 0;
      waiting.length = 0;
      list.replaceChildren();
      empty.hidden = false;
    },
    add(e) {
      if (e.seq <= last) return; // shown before the stream broke
      if (last && e.seq > last + 1) line("gap", el("span", { className: "gap" }, `${e.seq - last - 1} events were missed`));
      last = e.seq;
      const at = new Date(e.at);
      line(e.kind,
        el("time", { dateTime: e.at }, at.toLocaleTimeString([], { hour12: false })),
        el("span", { className: "kind" }, el("span", { ariaHidden: "true" }, (marks[e.kind] ?? "•") + " "), e.kind),
        el("span", { className: "what" }, named(e) ? "" : el("b", {}, e.region + " "), e.text,
          e.rung && e.rung !== "normal" ? el("span", { className: "rung" }, e.rung) : ""));
      // Only what changes the deployment is read aloud, and not the backlog.
      if (["region", "link", "lost", "topology", "control"].includes(e.kind) && Date.now() - at < 5000) say(named(e) ? e.text : `${e.region} ${e.text}`);
    },
  };
}
