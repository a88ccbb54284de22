"""Keeps together in a binary what an agent uses, so that little of it is resident: the kernel maps 64 KiB around each page that is touched.

    order.py trace BINARY MAP     prints the functions an agent touches, for order.txt; BINARY is of this machine, MAP what cross/ld
                                  wrote for it (LICTOR_MAP). Runs a server and a client of it under qemu-user, which logs what runs.
    order.py symbols FILE         prints the symbols of an object file that order.txt lists, for the linker's --symbol-ordering-file

Names are as the compiler mangles them, without the hash and the number at the end, which differ from build to build: a name stands for
all instances of a generic function. What is new and not listed makes more of the binary resident, up to 64 KiB for each function that lies
alone (77 of 10,000 made it 1.3 MB): before a release, list it again by

    LICTOR_MAP=/tmp/edge.map just cross x86_64
    python3 cross/order.py trace dist/lictor-VERSION-x86_64-unknown-linux-musl-edge /tmp/edge.map >/tmp/order.txt && mv /tmp/order.txt cross/
"""

import bisect
import os
import platform
import re
import subprocess
import sys
import tempfile
import time

from agent import NETWORK, Agent

LIST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "order.txt")
HASH = re.compile(r"(17h[0-9a-f]{16}E.*|(?<=.)\.\d+)$")
# Code that several functions share. Its names are numbers, and there is little of it.
SHARED = re.compile(r"OUTLINED_FUNCTION_\d+$")
IDLE_S = 60
# Where qemu loads a program that may lie anywhere.
LOADED_AT = 0x4000000000


def bare(symbol):
    return HASH.sub("", symbol)


def symbols(path):
    with open(LIST, encoding="ascii") as file:
        listed = file.read().split()
    wanted = set(listed)
    table = subprocess.run(["readelf", "-sW", path], check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in table.splitlines():
        fields = line.split()
        if len(fields) == 8 and fields[3] == "FUNC" and (SHARED.match(fields[7]) or bare(fields[7]) in wanted):
            print(fields[7])
    # Those of C and assembly, which lie in other files, have no hash.
    print("\n".join(listed))


def functions(path):
    """The address, size and symbol of every function in a linker's map, by address."""
    found = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if at := re.match(r"\s*([0-9a-f]+)\s+[0-9a-f]+\s+([0-9a-f]+)\s+\d+ {9}\S.*:\(\.text\.(?:unlikely\.|hot\.)?([^.()][^()]*)\)$", line):
                found.append((int(at[1], 16), int(at[2], 16), at[3]))
    return sorted(found)


def use(agent):
    """What every agent is asked."""
    for number in range(3):
        check = {"TTL": "1h", "Status": "passing"}
        agent.request("PUT", "/v1/agent/service/register", {"Name": f"web{number}", "Port": 80, "Check": check})
    agent.request("PUT", "/v1/kv/key", "value")
    for path in ("kv/key", "health/service/web1", "catalog/services", "agent/self", "agent/members"):
        agent.get(f"/v1/{path}")
    agent.look_up("web1.service.consul")


def trace(binary, mapped):
    placed = functions(mapped)
    starts = [start for start, _, _ in placed]
    touched = set()
    with tempfile.TemporaryDirectory(prefix="lictor-order-") as folder:
        agents = []
        try:
            for name, role in (("server", ["-server", "-bootstrap"]), ("client", [f"-retry-join=127.90.{NETWORK}.1"])):
                emulator = [f"qemu-{platform.machine()}-static", "-d", "in_asm", "-D", f"{folder}/{name}.log"]
                agents.append(Agent([*emulator, binary], folder, ["-profile=edge", *role]))
                agents[-1].wait_for_leader()
                use(agents[-1])
            time.sleep(IDLE_S)
        finally:
            for agent in agents:
                agent.end()
        for name in ("server", "client"):
            with open(f"{folder}/{name}.log", encoding="utf-8", errors="replace") as log:
                for line in log:
                    if at := re.match(r"0x([0-9a-f]+):", line):
                        address = int(at[1], 16) - LOADED_AT
                        place = bisect.bisect(starts, address) - 1
                        if place >= 0 and address < placed[place][0] + placed[place][1]:
                            touched.add(bare(placed[place][2]))
    if not touched:
        sys.exit(f"nothing that ran is in {mapped}: is it the map of {binary}?")
    print("\n".join(sorted(name for name in touched if not SHARED.match(name))))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["trace", binary, mapped]:
            trace(os.path.abspath(binary), mapped)
        case ["symbols", path]:
            symbols(path)
        case _:
            sys.exit(__doc__)
