// A server on Node's http whose calls have a known cause: causes.js PORT URL [POLL]
// Answers GET /in/ID after four calls of URL/out/ID/0 to 3, one after the other on connections that all
// requests share. With POLL, a method, it requests URL/polled every few milliseconds on its own, too.
const http = require("node:http");

const CALLS = 4;
const POLL_EVERY_MS = 5;
const [port, url, poll] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true });

function call(method, path) {
  return new Promise((resolve, reject) => {
    const request = http.request(url + path, { agent, method }, (answer) => {
      answer.resume();
      answer.on("end", resolve);
    });
    request.on("error", reject);
    request.end();
  });
}

const server = http.createServer(async (request, response) => {
  const id = request.url.split("/")[2];
  for (let number = 0; number < CALLS; number++) await call("GET", `/out/${id}/${number}`);
  response.end("done");
});

async function pollOnAndOn() {
  for (;;) {
    await call(poll, "/polled");
    await new Promise((resolve) => setTimeout(resolve, POLL_EVERY_MS));
  }
}

server.listen(Number(port), "127.0.0.1", 1024, () => console.log("listening"));
if (poll) pollOnAndOn();
