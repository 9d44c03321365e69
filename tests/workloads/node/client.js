// A client on Node's http and https for the tests: client.js URL…
// Gets the URLs one after the other on one kept connection and prints "METHOD PATH STATUS BYTES"
// for each: what the client itself knows.
const http = require("node:http");
const https = require("node:https");

const library = process.argv[2]?.startsWith("https:") ? https : http;
const agent = new library.Agent({ keepAlive: true, maxSockets: 1 });

function get(url) {
  return new Promise((resolve, reject) => {
    library.get(url, { agent }, (response) => {
      let bytes = 0;
      response.on("data", (piece) => (bytes += piece.length));
      response.on("end", () => {
        console.log(`GET ${new URL(url).pathname} ${response.statusCode} ${bytes}`);
        resolve();
      });
    }).on("error", reject);
  });
}

(async () => {
  for (const url of process.argv.slice(2)) await get(url);
  agent.destroy();
})();
