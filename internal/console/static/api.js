// One action at a time goes to the server; what it refuses is shown as it says it.

export async function act(action) {
  let answer;
  try {
    answer = await fetch("api/action", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(action),
    });
  } catch {
    throw new Error("The console's server cannot be reached. Is roam demo still running?");
  }
  const body = await answer.json().catch(() => ({ error: `the server answered ${answer.status}`, next: "" }));
  if (!answer.ok) throw new Error([body.error, body.next].filter(Boolean).join(": "));
  return body;
}

// watch calls state and event as they come, and health whenever the stream
// comes up or breaks. The browser reconnects by itself after a broken
// connection, with the id of the last event; after an answer that is no stream
// it gives up, and a new stream is opened here.
export function watch({ state, event, health }) {
  let retryMs = 1000;
  const open = () => {
    const source = new EventSource("api/events");
    source.addEventListener("open", () => { retryMs = 1000; health(true); });
    source.addEventListener("state", (e) => state(JSON.parse(e.data)));
    source.addEventListener("event", (e) => event(JSON.parse(e.data)));
    source.addEventListener("error", () => {
      health(false);
      if (source.readyState !== EventSource.CLOSED) return;
      setTimeout(open, retryMs);
      retryMs = Math.min(retryMs * 2, 10_000);
    });
  };
  open();
}
