"""Measures what an agent takes of a small device. Needs nothing but Python.

    constrained.py measure DIST [ARCHITECTURE...]   writes CONSTRAINED.md beside this file from the binaries in DIST
    constrained.py soak BINARY [MINUTES]            churn under 32 MB, by default for 30 minutes; as root, for the memory cgroup

All agents are real processes on loopback addresses of their own. Another processor's binaries run under qemu-user: memory is
then counted within the guest's addresses, and times are left out.
"""

import datetime
import os
import platform
import random
import re
import resource
import sys
import tempfile
import time

from agent import NETWORK, Agent

MEMBERS = 100
SERVICES = 50
SETTLE_S = 30
WATCHED_S = 60
LIMIT_BYTES = 32_000_000
GROWTH_BYTES = 1_000_000
# Between two turns of the soak, about fifteen requests each.
TURN_S = 0.05
# Files an agent under soak may open beyond those it has open when it begins.
FILES_HEADROOM = 16
HERE = os.path.dirname(os.path.abspath(__file__))


def service(number):
    """One of an agent's services, with a check that its owner would keep passing."""
    check = {"CheckID": f"check-{number}", "TTL": "12h", "Status": "passing"}
    return {"ID": f"web-{number}", "Name": f"web-{number}", "Port": 8000 + number, "Tags": ["v1"], "Check": check}


def watch(agents):
    """What each takes while nothing happens, in the words of the tables."""
    time.sleep(SETTLE_S)
    before = [agent.usage() for agent in agents]
    time.sleep(WATCHED_S)
    after = [agent.usage() for agent in agents]
    return [
        {
            "cpu": f"{100 * (then[0] - now[0]) / WATCHED_S:.2f} %",
            "written": f"{(then[1] - now[1]) * 3600 // WATCHED_S:,} B",
            "resident": f"{then[2] / 1e6:.1f} MB",
            "anonymous": f"{then[3] / 1e6:.1f} MB",
        }
        for now, then in zip(before, after)
    ]


def rows(kinds, measured, *columns):
    """A line of a table for each; what means nothing under emulation is left out."""
    for (architecture, flavour, profile), figures in zip(kinds, measured):
        emulated = {} if architecture == platform.machine() else {"cpu": "", "start": ""}
        yield f"| {architecture} {flavour}, `{profile}` | " + " | ".join((figures | emulated)[column] for column in columns) + " |"


def measure(dist, architectures):
    found = [re.match(r"lictor-(.*)-\w+-unknown-linux-musl-full$", name) for name in (os.listdir(dist) if os.path.isdir(dist) else ())]
    version = next((name[1] for name in found if name), None)
    if version is None:
        sys.exit(f"{dist} has no binaries of a release: make them with `just cross`")
    builds = [(architecture, flavour) for architecture in architectures for flavour in ("full", "edge")]
    kinds = [(*build, profile) for build in builds for profile in ("default", "edge")]
    path = lambda architecture, flavour: os.path.join(dist, f"lictor-{version}-{architecture}-unknown-linux-musl-{flavour}")
    emulator = lambda architecture: [] if architecture == platform.machine() else [f"qemu-{architecture}-static"]
    native = path(platform.machine(), "full")
    agents = []
    with tempfile.TemporaryDirectory(prefix="lictor-constrained-") as folder:

        def start(kind, *arguments):
            command = [native] if kind is None else [*emulator(kind[0]), path(*kind[:2])]
            agents.append(Agent(command, folder, [*arguments, f"-profile={kind[2] if kind else 'default'}"]))
            return agents[-1]

        try:
            print(f"{len(kinds)} servers alone, for {SETTLE_S + WATCHED_S} s", file=sys.stderr)
            starts = [f"{1000 * start(kind, '-server', '-bootstrap').wait_for_leader():.0f} ms" for kind in kinds]
            alone = [figures | {"start": started} for figures, started in zip(watch(agents), starts)]
            while agents:
                agents.pop().end()

            print(f"a cluster of {MEMBERS} members, {len(kinds)} of them with {SERVICES} services", file=sys.stderr)
            join = f"-retry-join=127.90.{NETWORK}.{Agent.count + 1}"
            servers = [start(None, "-server", "-bootstrap-expect=3", join) for _ in range(3)]
            servers[0].wait_for_leader()
            for _ in range(MEMBERS - len(servers) - len(kinds)):
                start(None, join)
            clients = [start(kind, join) for kind in kinds]
            for agent in clients:
                agent.wait_for_leader()
                for number in range(SERVICES):
                    agent.request("PUT", "/v1/agent/service/register", service(number))
                services = f"/v1/catalog/node/{agent.name}"
                agent.wait("known with its services", lambda: len(servers[0].get(services)["Services"]) == SERVICES)
            is_alive = lambda check: check["CheckID"] == "serfHealth"
            agents[-1].wait("one of all", lambda: sum(map(is_alive, servers[0].get("/v1/health/state/passing"))) == MEMBERS)
            in_cluster = watch(clients)
        finally:
            for agent in agents:
                agent.process.kill()
                agent.process.wait()
    with open("/proc/cpuinfo", encoding="utf-8") as cpu:
        model = re.search(r"^model name\s*: (.*)", cpu.read(), re.M)
    filled = {
        "DAY": datetime.datetime.now(datetime.timezone.utc).strftime("%F"),
        "MACHINE": f"{os.cpu_count()} processors ({model[1] if model else platform.machine()}), Linux {platform.release().split('-')[0]}",
        "VERSION": version,
        "SIZES": "\n".join(f"| {' '.join(build)} | {os.path.getsize(path(*build)) / 1e6:.2f} MB |" for build in builds),
        "ALONE": "\n".join(rows(kinds, alone, "resident", "anonymous", "cpu", "written", "start")),
        "CLIENTS": "\n".join(rows(kinds, in_cluster, "resident", "anonymous", "cpu", "written")),
    }
    with open(os.path.join(HERE, "constrained.md.in"), encoding="utf-8") as template:
        page = template.read()
    for name, value in filled.items():
        page = page.replace(f"@{name}@", value)
    with open(os.path.join(HERE, "CONSTRAINED.md"), "w", encoding="utf-8") as out:
        out.write(page)
    print(page)


def limited(name):
    """A new memory cgroup (version 1 or 2) of the limit."""
    root = "/sys/fs/cgroup"
    is_new = os.path.exists(f"{root}/cgroup.controllers")
    group = f"{root}/{'' if is_new else 'memory/'}lictor-soak-{os.getpid()}-{name}"
    os.mkdir(group)
    with open(f"{group}/{'memory.max' if is_new else 'memory.limit_in_bytes'}", "w") as file:
        file.write(str(LIMIT_BYTES))
    return group


def killed(group):
    """How many processes the kernel ended in a group for want of memory."""
    for name in ("memory.events", "memory.oom_control"):
        if os.path.exists(f"{group}/{name}"):
            with open(f"{group}/{name}") as file:
                return int(re.search(r"^oom_kill (\d+)", file.read(), re.M)[1])
    return 0


def churn(server, client, turn):
    """One turn of everything an agent does, on a server and a client of it."""
    number = turn % SERVICES
    for agent in (server, client):
        agent.request("PUT", "/v1/agent/service/register", service(number) | {"Port": 1024 + turn % 60000})
        agent.request("PUT", f"/v1/agent/check/{('fail', 'warn', 'pass')[turn % 3]}/check-{number}")
        if turn % 5 == 0:
            agent.request("PUT", f"/v1/agent/service/deregister/web-{(number + SERVICES // 2) % SERVICES}")
        agent.request("PUT", f"/v1/kv/soak/{turn % 500}", "x" * random.randrange(2000))
        agent.get(f"/v1/kv/soak/{turn % 500}")
        agent.get(f"/v1/health/service/web-{number}")
        assert agent.look_up("consul.service.consul") == 1, "the server is in DNS"
        agent.look_up(f"web-{number}.service.consul")


def soak(binary, minutes):
    """Whether a server and a client, each under the limit and with few open files, live through it without growing."""
    if not os.access(binary, os.X_OK):
        sys.exit(f"{binary} can't be run")
    if os.geteuid() != 0:
        sys.exit("a memory cgroup takes root")
    agents, groups = [], []
    with tempfile.TemporaryDirectory(prefix="lictor-soak-") as folder:
        try:
            for name, arguments in (("server", ["-server", "-bootstrap"]), ("client", [f"-retry-join=127.90.{NETWORK}.1"])):
                groups.append(limited(name))
                command = ["sh", "-c", f'echo $$ >{groups[-1]}/cgroup.procs; exec "$0" "$@"', binary]
                agents.append(Agent(command, folder, ["-profile=edge", '-hcl=limits { memory = "30MiB" }', *arguments]))
                agents[-1].wait_for_leader()
            for agent in agents:
                for number in range(SERVICES):
                    agent.request("PUT", "/v1/agent/service/register", service(number))
                files = len(os.listdir(f"/proc/{agent.process.pid}/fd")) + FILES_HEADROOM
                resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE, (files, files))
            samples = [[], []]
            began = time.monotonic()
            turn = said = 0
            while (passed := time.monotonic() - began) < 60 * minutes:
                churn(*agents, turn)
                turn += 1
                time.sleep(TURN_S)
                if passed >= len(samples[0]):
                    for place, agent in enumerate(agents):
                        samples[place].append(agent.usage()[2:])
                if passed >= said:
                    say = [f"{resident / 1e6:.1f} ({own / 1e6:.1f})" for resident, own in (of[-1] for of in samples)]
                    print(f"{passed / 60:5.1f} min, {turn} turns; resident (anonymous) MB: server {say[0]}, client {say[1]}", flush=True)
                    said += 60
            failed = False
            for place, name in enumerate(("server", "client")):
                # Memory rises and falls with every compaction of the log, every few minutes: peaks can be compared.
                quarter = len(samples[place]) // 4
                peak = lambda part, kind: max(of[kind] for of in samples[place][part * quarter : (part + 1) * quarter])
                grown = [peak(3, kind) - peak(2, kind) for kind in (0, 1)]
                most = max(resident for resident, _ in samples[place])
                ended = killed(groups[place]) or agents[place].process.poll() is not None
                print(f"{name}: at most {most / 1e6:.1f} MB resident; from the third quarter to the fourth resident {grown[0] / 1e6:+.2f} MB, anonymous {grown[1] / 1e6:+.2f} MB" + (", ENDED" if ended else ""))
                failed |= bool(ended) or most > LIMIT_BYTES or max(grown) >= GROWTH_BYTES
            return 1 if failed else 0
        finally:
            for agent in agents:
                agent.end()
            for group in groups:
                os.rmdir(group)


def main(arguments):
    match arguments:
        case ["measure", dist, *architectures]:
            return measure(dist, architectures or ["x86_64", "aarch64"])
        case ["soak", binary, *minutes]:
            return soak(os.path.abspath(binary), float(minutes[0]) if minutes else 30)
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
