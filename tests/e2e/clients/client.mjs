// The round of tests/e2e/test_clients.py with Node: node:http for what is sent, fetch for what is read.
// Argument 1 is the URL, argument 2 the size; the body comes on standard input; the report goes to standard
// output, as JSON.
import plain from "node:http";
import encrypted from "node:https";
import { createHash } from "node:crypto";
import { buffer } from "node:stream/consumers";

const [url, size] = process.argv.slice(2);
const http = url.startsWith("https:") ? encrypted : plain;
const blob = await buffer(process.stdin);
const agent = new http.Agent({ keepAlive: true });

function send(method, path, headers, parts) {
  return new Promise((resolve, reject) => {
    const request = http.request(url + path, { method, headers, agent }, async (answer) => {
      resolve({ status: answer.statusCode, headers: answer.headers, data: await buffer(answer) });
    });
    request.on("error", reject);
    for (const part of parts) request.write(part);
    request.end();
  });
}

const fields = JSON.parse((await send("GET", "/fields", { "X-Test": "a b" }, [])).data);
const pieces = [];
for (let at = 0; at < blob.length; at += 70001) pieces.push(blob.subarray(at, at + 70001));
const down = {};
for (const framing of ["length", "chunked", "close"]) {
  const data = await (await fetch(`${url}/bytes/${size}/${framing}`)).arrayBuffer();
  down[framing] = createHash("sha256").update(Buffer.from(data)).digest("hex");
}
const head = await send("HEAD", `/bytes/${size}`, {}, []);
const statuses = [];
for (const status of [204, 404, 500]) statuses.push((await fetch(`${url}/status/${status}`)).status);
const report = {
  fields: fields.some(([name, value]) => name.toLowerCase() === "x-test" && value === "a b"),
  length: JSON.parse((await send("POST", "/digest", { "Content-Length": blob.length }, [blob])).data),
  chunked: JSON.parse((await send("PUT", "/digest", {}, pieces)).data),
  down,
  head: [head.status, Number(head.headers["content-length"])],
  statuses,
};
agent.destroy();
console.log(JSON.stringify(report));
