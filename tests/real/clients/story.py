"""A day in the life of a service, told with python-consul and dig.

Usage: story.py ADDRESS. The agent listens there on the usual ports and its node is called "story". Prints one line per
observation with everything volatile (addresses, ports, ids, indexes) replaced, so the transcripts of two agents can be
compared line by line. Fails on the first thing that takes too long.
"""

import http.server
import json
import re
import subprocess
import sys
import threading
import time

import consul
import requests

ADDRESS = sys.argv[1]
PATIENCE_SECONDS = 30


class Backend(http.server.BaseHTTPRequestHandler):
    """The service itself: answers with the status the story wants."""

    status = 200

    def do_GET(self):
        body = b"all fine" if Backend.status == 200 else b"on fire"
        self.send_response(Backend.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def start_backend():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


BACKEND_PORT = start_backend()
CLIENT = consul.Consul(host=ADDRESS)
VOLATILE = {"CreateIndex", "ModifyIndex", "LockIndex"}
PORTS = {"Port", "ServicePort"}


def port(number):
    return "BACKEND" if number == BACKEND_PORT else "PORT" if number else number


def plain(value):
    """The value without what differs from run to run."""
    if isinstance(value, dict):
        return {key: port(item) if key in PORTS else plain(item) for key, item in sorted(value.items()) if key not in VOLATILE}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, str):
        value = value.replace(str(BACKEND_PORT), "BACKEND").replace(ADDRESS, "AGENT")
        value = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID", value)
        value = re.sub(r"modify index \d+", "modify index N", value)
        return value
    return value


def tell(title, value):
    print(f"{title}: {json.dumps(plain(value), sort_keys=True)}", flush=True)


def soon(title, look):
    """Asks until the answer is there, without a long poll (for what the agent syncs in the background)."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := answer_of(look)):
        assert time.monotonic() < deadline, f"{title}: not within {PATIENCE_SECONDS} s"
        time.sleep(0.05)
    return found


def answer_of(look):
    """What `look` finds, or nothing while the agent is still starting."""
    try:
        return look()
    except (requests.ConnectionError, consul.ConsulException):
        return None


def long_poll(title, query, wanted):
    """Follows a query by its index until `wanted` holds; every answer must come with a usable index."""
    deadline, index = time.monotonic() + PATIENCE_SECONDS, None
    while True:
        new_index, found = query(index)
        assert int(new_index) > 0, f"{title}: index {new_index}"
        if wanted(found):
            return found
        index = new_index
        assert time.monotonic() < deadline, f"{title}: not within {PATIENCE_SECONDS} s"


def error_of(act):
    try:
        return plain(act())
    except consul.ConsulException as error:
        return f"{type(error).__name__}: {plain(str(error))}"


def dig(name, kind, *options):
    command = ["dig", f"@{ADDRESS}", "-p", "8600", "+noall", "+answer", "+comments", "+additional", *options, name, kind]
    text = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    status = re.search(r"status: (\w+)", text).group(1)
    flags = re.search(r"flags: ([a-z ]+);", text).group(1)
    records = sorted(" ".join(line.split()) for line in text.splitlines() if line and not line.startswith(";"))
    records = [record.replace(str(BACKEND_PORT), "BACKEND").replace(ADDRESS, "AGENT") for record in records]
    tell(f"dig {' '.join([*options, name, kind])}", {"status": status, "flags": flags, "records": records})


def start():
    soon("leader", lambda: CLIENT.status.leader())
    soon("own node", lambda: CLIENT.health.service("consul")[1])
    soon("node details", lambda: "wan" in (CLIENT.catalog.nodes()[1][0]["TaggedAddresses"] or {}))
    tell("leader", CLIENT.status.leader())
    tell("peers", CLIENT.status.peers())
    tell("datacenters", CLIENT.catalog.datacenters())
    tell("members", [member["Name"] for member in CLIENT.agent.members()])
    tell("self", CLIENT.agent.self()["Config"]["Datacenter"])
    tell("services", CLIENT.catalog.services()[1])


def register_and_watch():
    check = consul.Check.http(f"http://127.0.0.1:{BACKEND_PORT}/", "1s", timeout="2s")
    tell("register", CLIENT.agent.service.register("web", service_id="web-1", address="127.0.0.1", port=BACKEND_PORT,
                                                   tags=["primary", "v1"], check=check))

    def statuses(found):
        return [check["Status"] for entry in found for check in entry["Checks"] if check["ServiceName"] == "web"]

    def follow(index):
        return CLIENT.health.service("web", index=index, wait="5s")

    found = long_poll("passing", follow, lambda found: statuses(found) == ["passing"])
    tell("passing", found)
    tell("agent services", CLIENT.agent.services())
    tell("agent checks", CLIENT.agent.checks())
    tell("catalog service", CLIENT.catalog.service("web", tag="v1")[1])
    tell("catalog node", CLIENT.catalog.node("story")[1])
    names()
    Backend.status = 500
    found = long_poll("critical", follow, lambda found: statuses(found) == ["critical"])
    tell("critical", found[0]["Checks"])
    tell("only passing", CLIENT.health.service("web", passing=True)[1])
    tell("critical checks", [check["CheckID"] for check in CLIENT.health.state("critical")[1]])
    dig("web.service.consul", "A")
    Backend.status = 200
    long_poll("passing again", follow, lambda found: statuses(found) == ["passing"])


def names():
    for transport in ("+notcp", "+tcp"):
        dig("web.service.consul", "A", transport)
        dig("web.service.consul", "SRV", transport)
        dig("v1.web.service.consul", "A", transport)
        dig("missing.web.service.consul", "A", transport)
        dig("_web._primary.service.consul", "SRV", transport)
        dig("_web._tcp.service.consul", "SRV", transport)
        dig("story.node.consul", "A", transport)
        dig("web.service.dc1.consul", "A", transport)
        dig("web.service.dc9.consul", "A", transport)
        dig("nothing.service.consul", "A", transport)
    dig("7f000001.addr.dc1.consul", "A")
    dig("example.com", "A")


def maintenance_and_ttl():
    tell("maintenance on", CLIENT.agent.service.maintenance("web-1", "true", "upgrade"))
    long_poll("in maintenance", lambda index: CLIENT.health.service("web", index=index, wait="5s"),
              lambda found: len(found[0]["Checks"]) == 3)
    tell("maintenance checks", sorted(check["CheckID"] for check in CLIENT.agent.checks().values()))
    tell("maintenance off", CLIENT.agent.service.maintenance("web-1", "false"))
    tell("check register", CLIENT.agent.check.register("heartbeat", check=consul.Check.ttl("60s"), check_id="beat"))
    for verb in ("ttl_pass", "ttl_warn", "ttl_fail"):
        tell(verb, getattr(CLIENT.agent.check, verb)("beat", notes=f"said {verb}"))
        tell("beat", CLIENT.agent.checks()["beat"])
    tell("unknown ttl", error_of(lambda: CLIENT.agent.check.ttl_pass("nobody")))
    tell("check deregister", CLIENT.agent.check.deregister("beat"))


def keys():
    tell("missing", CLIENT.kv.get("story/a")[1])
    tell("put", CLIENT.kv.put("story/a", "one", flags=7))
    index, entry = CLIENT.kv.get("story/a")
    tell("get", entry)
    threading.Timer(0.3, lambda: consul.Consul(host=ADDRESS).kv.put("story/a", "two")).start()
    started = time.monotonic()
    tell("long poll", CLIENT.kv.get("story/a", index=index, wait="10s")[1])
    tell("woken before the wait was over", time.monotonic() - started < 9)
    index = CLIENT.kv.get("story/a")[0]
    tell("cas with an old index", CLIENT.kv.put("story/a", "three", cas=1))
    tell("cas with the index", CLIENT.kv.put("story/a", "three", cas=int(index)))
    tell("cas on a new key", CLIENT.kv.put("story/b/c", "x", cas=0))
    tell("empty value", CLIENT.kv.put("story/empty", ""))
    tell("recurse", CLIENT.kv.get("story/", recurse=True)[1])
    tell("keys", CLIENT.kv.get("story/", keys=True)[1])
    tell("keys to a separator", CLIENT.kv.get("story/", keys=True, separator="/")[1])
    tell("odd key", [CLIENT.kv.put("story/sp ace/ü?&", "odd"), CLIENT.kv.get("story/sp ace/ü?&")[1]])
    tell("delete", CLIENT.kv.delete("story/a"))
    tell("delete again", CLIENT.kv.delete("story/a"))
    tell("delete all", CLIENT.kv.delete("story/", recurse=True))
    tell("nothing left", CLIENT.kv.get("story/", recurse=True)[1])


def locks():
    first = CLIENT.session.create(name="first", ttl=10, lock_delay=0, behavior="release")
    second = CLIENT.session.create(name="second", lock_delay=0, behavior="delete")
    tell("session", CLIENT.session.info(first)[1])
    tell("acquire", CLIENT.kv.put("story/lock", "held", acquire=first))
    tell("acquire again", CLIENT.kv.put("story/lock", "still", acquire=first))
    tell("acquire by another", CLIENT.kv.put("story/lock", "mine", acquire=second))
    tell("renew", CLIENT.session.renew(first))
    index, entry = CLIENT.kv.get("story/lock")
    tell("held", [entry["Session"] == first, entry["LockIndex"], entry])
    tell("destroy", CLIENT.session.destroy(first))
    tell("lost", long_poll("lost", lambda i: CLIENT.kv.get("story/lock", index=i, wait="5s"), lambda e: "Session" not in e))
    tell("acquired by the other", CLIENT.kv.put("story/lock", "mine", acquire=second))
    tell("release by nobody", CLIENT.kv.put("story/lock", "mine", release=first))
    tell("destroy deletes", [CLIENT.session.destroy(second), CLIENT.kv.get("story/lock")[1]])
    tell("acquire without a session", error_of(lambda: CLIENT.kv.put("story/lock", "x", acquire=first)))
    tell("renew of nothing", error_of(lambda: CLIENT.session.renew(first)))
    tell("sessions", CLIENT.session.list()[1])


def transactions():
    value = "dHhu"
    tell("txn", CLIENT.txn.put([{"KV": {"Verb": "set", "Key": "story/t", "Value": value}}, {"KV": {"Verb": "get", "Key": "story/t"}}]))
    tell("txn refused", error_of(lambda: CLIENT.txn.put([{"KV": {"Verb": "set", "Key": "story/u", "Value": value}},
                                                         {"KV": {"Verb": "check-index", "Key": "story/t", "Index": 1}}])))
    tell("rolled back", CLIENT.kv.get("story/u")[1])
    tell("clean", CLIENT.kv.delete("story/", recurse=True))


def finish():
    tell("deregister", CLIENT.agent.service.deregister("web-1"))
    soon("gone", lambda: not CLIENT.catalog.service("web")[1])
    tell("gone", CLIENT.health.service("web")[1])
    dig("web.service.consul", "SRV")


for chapter in (start, register_and_watch, maintenance_and_ttl, keys, locks, transactions, finish):
    print(f"# {chapter.__name__}", flush=True)
    chapter()
