// The connection to the namenode: /api/events, opened again whenever it is lost.

/** Silence after which the connection counts as lost, ms. The namenode says something every 5 s. */
const SILENCE_MS = 15_000;
/** Waits between attempts to connect, ms: doubled from the first to the last. */
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 10_000;

/**
 * Keeps listening while the page is visible.
 * @param {{ onStatus(status: object): void, onLost(): void }} handlers onLost may be called several times in a row
 */
export function listen({ onStatus, onLost }) {
  /** @type {EventSource | undefined} */
  let source;
  let timer = 0;
  let retryMs = FIRST_RETRY_MS;

  function stop() {
    clearTimeout(timer);
    source?.close();
    source = undefined;
  }

  function lost() {
    stop();
    onLost();
    timer = setTimeout(start, retryMs);
    retryMs = Math.min(retryMs * 2, LAST_RETRY_MS);
  }

  function heard() {
    clearTimeout(timer);
    timer = setTimeout(lost, SILENCE_MS);
    retryMs = FIRST_RETRY_MS;
  }

  function start() {
    stop();
    timer = setTimeout(lost, SILENCE_MS);
    source = new EventSource("/api/events");
    source.addEventListener("status", (event) => {
      heard();
      onStatus(JSON.parse(event.data));
    });
    source.addEventListener("heartbeat", heard);
    // Also on a refusal, after which a browser would not try again by itself.
    source.addEventListener("error", lost);
  }

  // A page that nobody sees gives its place among the listeners to others.
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
  if (!document.hidden) start();
}
