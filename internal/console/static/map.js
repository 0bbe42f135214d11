import { svg, text, attr } from "./dom.js";
import { millis, plane, rate } from "./format.js";

const height = 400, nodeHeight = 66;
const gap = 15; // between the two arrows of a pair, each side of the middle

// A phone gets a narrower picture, or its words would be too small to read.
const phone = matchMedia("(max-width: 45rem)");
const sizes = () => (phone.matches ? { width: 400, nodeWidth: 116 } : { width: 640, nodeWidth: 150 });

// places puts n Regions on an ellipse, the first at the top; two side by side.
function places(n, { width, nodeWidth }) {
  const start = n === 2 ? -Math.PI : -Math.PI / 2;
  return Array.from({ length: n }, (_, i) => {
    const a = start + (2 * Math.PI * i) / n;
    if (n === 1) return { x: width / 2, y: height / 2 };
    const x = width / 2 + Math.cos(a) * (width / 2 - nodeWidth / 2 - 2);
    // A triangle's lower corners lie above the ellipse's foot: stretch it.
    const y = n === 3 ? height / 2 + (Math.sin(a) < 0 ? -1 : 1) * (height / 2 - nodeHeight / 2 - 8) : height / 2 + Math.sin(a) * (height / 2 - nodeHeight / 2 - 8);
    return { x, y };
  });
}

// edge is where a line leaves a node, with some air. The line goes in direction
// u and passes the node's middle at a distance of o.
function edge(node, nodeWidth, o, u) {
  const air = 6;
  const along = (half, o, u) => (u ? (Math.sign(u) * (half + air) - o) / u : Infinity);
  const t = Math.min(along(nodeWidth / 2, o.x, u.x), along(nodeHeight / 2, o.y, u.y));
  return { x: node.x + o.x + u.x * t, y: node.y + o.y + u.y * t };
}

function node(p, { nodeWidth }) {
  const name = svg("text", { class: "name", y: -13 }), status = svg("text", { class: "status", y: 6 }), figure = svg("text", { class: "figure", y: 23 });
  const root = svg("g", { class: "node", transform: `translate(${p.x} ${p.y})` },
    svg("rect", { x: -nodeWidth / 2, y: -nodeHeight / 2, width: nodeWidth, height: nodeHeight, rx: 10 }), name, status, figure);
  return {
    root,
    show(r, primary) {
      attr(root, "data-state", r.alive ? "ok" : "cut");
      text(name, r.name);
      text(status, (r.alive ? "✓ alive" : "✕ dead") + (primary ? " · primary" : ""));
      text(figure, r.alive ? `${rate(r.writesPerSecond)} writes/s` : "");
    },
  };
}

// arrow runs beside the middle line, to its right as seen from its start, so
// that the opposite one has the other side.
function arrow(a, b, { nodeWidth }) {
  const len = Math.hypot(b.x - a.x, b.y - a.y);
  const ux = (b.x - a.x) / len, uy = (b.y - a.y) / len;
  const o = { x: -uy * gap, y: ux * gap };
  const at = edge(a, nodeWidth, o, { x: ux, y: uy }), end = edge(b, nodeWidth, o, { x: -ux, y: -uy });
  const head = `M${end.x} ${end.y}L${end.x - ux * 11 - uy * 5.5} ${end.y - uy * 11 + ux * 5.5}L${end.x - ux * 11 + uy * 5.5} ${end.y - uy * 11 - ux * 5.5}Z`;
  // A third of the way along, where labels of crossing links seldom meet.
  const lx = at.x + (end.x - at.x) * 0.36, ly = at.y + (end.y - at.y) * 0.36;
  const label = svg("text", { class: "label", x: 0, y: 4 });
  const box = svg("rect", { class: "labelbox", x: -36, y: -11, width: 72, height: 22, rx: 11 });
  const root = svg("g", { class: "link" },
    svg("line", { x1: at.x, y1: at.y, x2: end.x - ux * 9, y2: end.y - uy * 9 }), svg("path", { d: head }),
    svg("g", { transform: `translate(${lx} ${ly})` }, box, label));
  return {
    root,
    // brief leaves out figures: with many links they would cover each other.
    show(l, brief) {
      const c = plane(l.calls), r = plane(l.replication);
      const both = c.state === "cut" && r.state === "cut";
      const some = c.state !== "ok" || r.state !== "ok";
      attr(root, "data-state", both || !l.connected ? "cut" : some ? "slow" : "ok");
      const mark = both ? "✕ cut" : c.state === "cut" ? "✕ calls" : r.state === "cut" ? "✕ repl." : l.connected ? "" : "✕ down";
      text(label, mark || (l.lagMs === null ? "lag ?" : millis(l.lagMs)));
      attr(root, "data-brief", brief && !mark);
    },
  };
}

export function map(root) {
  let nodes = [], arrows = [], drawn = "", picture;
  return {
    show(state) {
      const size = sizes();
      const shape = size.width + state.regions.map((r) => r.name).join() + state.links.map((l) => `${l.from}>${l.to}`).join();
      if (shape !== drawn) {
        drawn = shape;
        const spots = places(state.regions.length, size);
        const spot = (name) => spots[state.regions.findIndex((r) => r.name === name)];
        nodes = spots.map((p) => node(p, size));
        arrows = state.links.map((l) => arrow(spot(l.from), spot(l.to), size));
        picture = svg("svg", { viewBox: `0 0 ${size.width} ${height}`, role: "img" }, ...arrows.map((a) => a.root), ...nodes.map((n) => n.root));
        root.replaceChildren(picture);
      }
      state.regions.forEach((r, i) => nodes[i].show(r, r.name === state.primary));
      state.links.forEach((l, i) => arrows[i].show(l, state.regions.length > 4));
      const dead = state.regions.filter((r) => !r.alive).map((r) => r.name);
      const cut = state.links.filter((l) => l.calls.cut || l.replication.cut).map((l) => `${l.from} to ${l.to}`);
      attr(picture, "aria-label", `${state.regions.length} Regions. Dead: ${dead.join(", ") || "none"}. Cut links: ${cut.join(", ") || "none"}. The tables below have the figures.`);
    },
  };
}
