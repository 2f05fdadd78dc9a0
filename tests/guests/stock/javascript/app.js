// A handler as it is written for any server that speaks fetch.
const text = (body, status = 200) => new Response(body, { status, headers: { "content-type": "text/plain" } });

const routes = {
  "/hello": async (request, url) =>
    Response.json({ method: request.method, query: url.searchParams.get("q"), agent: request.headers.get("x-agent") }),
  "/echo": async (request) => new Response(request.body, { headers: { "x-echo": "yes" } }),
  "/count": async (request) => {
    let bytes = 0;
    const reader = request.body.getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) bytes += part.value.length;
    return text(String(bytes));
  },
  "/random": async () => text(crypto.randomUUID() + " " + Math.random()),
  "/clock": async () => text(String(Date.now())),
  "/wait": async () => {
    const before = performance.now();
    await new Promise((done) => setTimeout(done, 20));
    return text(String(performance.now() - before));
  },
  "/fetch": async (_request, url) => {
    try {
      const answer = await fetch(url.searchParams.get("url"));
      return text(answer.status + " " + (await answer.text()));
    } catch (error) {
      return text("refused: " + error.constructor.name, 502);
    }
  },
  "/hoard": async () => {
    const kept = [];
    for (;;) kept.push(new Uint8Array(1 << 20).fill(1));
  },
  "/spin": async () => {
    for (;;);
  },
};

addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  const route = routes[url.pathname];
  event.respondWith(route ? route(event.request, url) : text("no such path", 404));
});
