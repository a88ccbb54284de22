// The same kind of day, told with the npm client: its watch helper, its locks by session, its error handling.
//
// Usage: node story.mjs FOLDER_OF_NODE_MODULES ADDRESS. Prints one line per observation with everything volatile replaced.

import http from "node:http";
import { createRequire } from "node:module";

const [, , modules, address] = process.argv;
const Consul = createRequire(`${modules}/story.js`)("consul");
const consul = new Consul({ host: address });
const patienceMs = 30_000;
const volatile = new Set(["CreateIndex", "ModifyIndex", "LockIndex"]);

let status = 200;
const backend = http.createServer((_, response) => response.writeHead(status).end(status === 200 ? "all fine" : "on fire"));
await new Promise((ready) => backend.listen(0, "127.0.0.1", ready));
const backendPort = backend.address().port;

function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object") {
    const keys = Object.keys(value).sort().filter((key) => !volatile.has(key));
    return Object.fromEntries(keys.map((key) => [key, plain(value[key])]));
  }
  if (value === backendPort) return "BACKEND";
  if (typeof value !== "string") return value;
  return value
    .replaceAll(String(backendPort), "BACKEND")
    .replaceAll(address, "AGENT")
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "UUID");
}

const tell = (title, value) => console.log(`${title}: ${JSON.stringify(plain(value) ?? null)}`);

function fail(title) {
  console.error(`${title}: not within ${patienceMs} ms`);
  process.exit(1);
}

async function soon(title, look) {
  for (const end = Date.now() + patienceMs; Date.now() < end; ) {
    const found = await look().catch(() => null); // the agent may still be starting
    if (found) return found;
    await new Promise((wake) => setTimeout(wake, 50));
  }
  return fail(title);
}

// Follows an endpoint with the client's watch helper until `wanted` holds.
function watch(title, method, options, wanted) {
  return new Promise((resolve) => {
    const follower = consul.watch({ method, options, backoffFactor: 100 });
    const timer = setTimeout(() => fail(title), patienceMs);
    follower.on("change", (data) => {
      if (!wanted(data)) return;
      clearTimeout(timer);
      follower.end();
      resolve(data);
    });
  });
}

async function errorOf(act) {
  try {
    return await act();
  } catch (error) {
    return { status: error.statusCode ?? null, message: error.message };
  }
}

const webStatus = (found) => found.flatMap((entry) => entry.Checks).filter((check) => check.ServiceName === "web-js").map((check) => check.Status).join();

await soon("leader", () => consul.status.leader());
await soon("own node", async () => (await consul.health.service("consul"))[0].Node.TaggedAddresses.wan);
tell("self", (await consul.agent.self()).Config.Datacenter);

const check = { name: "web-js up", http: `http://127.0.0.1:${backendPort}/`, interval: "1s", timeout: "2s", notes: "from npm" };
await consul.agent.service.register({ name: "web-js", id: "web-js-1", address: "127.0.0.1", port: backendPort, tags: ["js"], meta: { by: "npm" }, check });
tell("passing", await watch("passing", consul.health.service, { service: "web-js" }, (found) => webStatus(found) === "passing"));
tell("services", (await consul.catalog.service.list())["web-js"]);
tell("nodes", (await consul.catalog.service.nodes("web-js")).map((entry) => [entry.ServiceID, entry.ServiceMeta, entry.ServicePort]));
status = 500;
tell("critical", (await watch("critical", consul.health.service, { service: "web-js" }, (found) => webStatus(found) === "critical"))[0].Checks);
tell("passing only", await consul.health.service({ service: "web-js", passing: true }));
tell("checks", (await consul.health.state("critical")).map((found) => found.CheckID));

await consul.agent.check.register({ id: "js-beat", name: "js-beat", ttl: "60s" });
await consul.agent.check.pass({ id: "js-beat", note: "alive" });
tell("beat", (await consul.agent.check.list())["js-beat"]);
await consul.agent.check.deregister("js-beat");

tell("missing key", (await consul.kv.get("js/key")) ?? null);
const followed = watch("key", consul.kv.get, { key: "js/key" }, (entry) => entry && entry.Value === "second");
tell("set", await consul.kv.set("js/key", "first"));
tell("set again", await consul.kv.set({ key: "js/key", value: "second", flags: 42 }));
tell("followed", await followed);
tell("keys", await consul.kv.keys("js/"));

const session = await consul.session.create({ name: "npm", ttl: "15s", lockdelay: "0s", behavior: "release" });
const rival = await consul.session.create({ name: "rival", lockdelay: "0s" });
tell("acquire", await consul.kv.set({ key: "js/lock", value: "held", acquire: session.ID }));
tell("acquire by a rival", await consul.kv.set({ key: "js/lock", value: "mine", acquire: rival.ID }));
const lost = watch("lost", consul.kv.get, { key: "js/lock" }, (entry) => entry && !entry.Session);
await consul.session.destroy(session.ID);
tell("lost", await lost);
tell("acquired by the rival", await consul.kv.set({ key: "js/lock", value: "mine", acquire: rival.ID }));
await consul.session.destroy(rival.ID);
tell("delete", (await consul.kv.del({ key: "js/", recurse: true })) ?? null);

tell("renew of nothing", await errorOf(() => consul.session.renew(session.ID)));
tell("register without a name", await errorOf(() => consul.agent.service.register({ name: "" })));
await consul.agent.service.deregister("web-js-1");
await soon("gone", async () => (await consul.health.service("web-js")).length === 0);
tell("gone", (await consul.catalog.service.list())["web-js"] ?? null);
backend.close();
process.exit(0);
