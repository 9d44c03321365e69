// A server on Node's http for the tests: server.js PORT
// /echo/ID answers with the request's body, /stream/ID in three pieces, /status/CODE/ID with that
// status. It speaks TLS where TLS_CERTIFICATE and TLS_KEY name files.
const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");

function answer(request, response) {
  const parts = new URL(request.url, "http://localhost").pathname.split("/");
  if (parts[1] === "echo") {
    request.pipe(response);
  } else if (parts[1] === "stream") {
    for (let piece = 0; piece < 3; piece++) response.write(`piece ${piece}\n`);
    response.end();
  } else {
    response.writeHead(parts[1] === "status" ? Number(parts[2]) : 404);
    response.end();
  }
}

const { TLS_CERTIFICATE, TLS_KEY } = process.env;
const server = TLS_CERTIFICATE
  ? https.createServer(
      { cert: fs.readFileSync(TLS_CERTIFICATE), key: fs.readFileSync(TLS_KEY) },
      answer,
    )
  : http.createServer(answer);
server.listen(Number(process.argv[2]), "127.0.0.1", () => console.log("listening"));
