"""Keeps together in a binary what an agent uses, so that little of it is resident: the kernel maps 64 KiB around each page that is touched.

    order.py trace BINARY MAP     prints the functions an agent touches, for order.txt; BINARY is of this machine, MAP what cross/ld
                                  wrote for it (LICTOR_MAP). Runs a server and a client of it under qemu-user, which logs what runs.
    order.py symbols FILE         prints the symbols of an object file that order.txt lists, for the linker's --symbol-ordering-file

Names are as the compiler mangles them, without the hash at the end, which differs from build to build: a name stands for all instances
of a generic function. What is new and not listed only makes more of the binary resident: run `trace` again before a release.
"""

import bisect
import http.client
import json
import os
import platform
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time

LIST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "order.txt")
HASH = re.compile(r"17h[0-9a-f]{16}E.*")
# Code that several functions share. Its names are numbers, and there is little of it.
SHARED = re.compile(r"OUTLINED_FUNCTION_\d+$")
PATIENCE_S = 120
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


def request(address, method, path, body=None):
    connection = http.client.HTTPConnection(address, 8500, timeout=60)
    connection.request(method, path, body)
    answer = connection.getresponse().read()
    connection.close()
    return answer


def use(address):
    """What every agent is asked."""
    for number in range(3):
        check = {"TTL": "1h", "Status": "passing"}
        request(address, "PUT", "/v1/agent/service/register", json.dumps({"Name": f"web{number}", "Port": 80, "Check": check}))
    request(address, "PUT", "/v1/kv/key", "value")
    for path in ("kv/key", "health/service/web1", "catalog/services", "agent/self", "agent/members"):
        request(address, "GET", f"/v1/{path}")
    name = b"".join(bytes([len(label)]) + label for label in (b"web1", b"service", b"consul")) + b"\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(60)
        asker.sendto(struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + name + struct.pack("!2H", 1, 1), (address, 8600))
        asker.recv(4096)


def trace(binary, mapped):
    placed = functions(mapped)
    starts = [start for start, _, _ in placed]
    touched = set()
    with tempfile.TemporaryDirectory(prefix="lictor-order-") as folder:
        agents = []
        try:
            for name, role in (("server", ["-server", "-bootstrap"]), ("client", ["-retry-join=127.92.1.1"])):
                address = f"127.92.1.{len(agents) + 1}"
                own = [f"-node={name}", f"-bind={address}", f"-client={address}", f"-data-dir={folder}/{name}", "-profile=edge"]
                emulator = [f"qemu-{platform.machine()}-static", "-d", "in_asm", "-D", f"{folder}/{name}.log"]
                agents.append(subprocess.Popen([*emulator, binary, "agent", *own, *role], stdout=subprocess.DEVNULL))
                end = time.monotonic() + PATIENCE_S
                while True:
                    try:
                        if len(request(address, "GET", "/v1/status/leader")) > 4:
                            break
                    except OSError:
                        pass
                    if time.monotonic() > end:
                        sys.exit(f"the {name} found no leader")
                    time.sleep(0.1)
                use(address)
            time.sleep(IDLE_S)
        finally:
            for agent in agents:
                agent.terminate()
                agent.wait()
        for name in ("server", "client"):
            with open(f"{folder}/{name}.log", encoding="utf-8", errors="replace") as log:
                for line in log:
                    if at := re.match(r"0x([0-9a-f]+):", line):
                        address = int(at[1], 16) - LOADED_AT
                        place = bisect.bisect(starts, address) - 1
                        if place >= 0 and address < placed[place][0] + placed[place][1]:
                            touched.add(bare(placed[place][2]))
    print("\n".join(sorted(name for name in touched if not SHARED.match(name))))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["trace", binary, mapped]:
            trace(os.path.abspath(binary), mapped)
        case ["symbols", path]:
            symbols(path)
        case _:
            sys.exit(__doc__)
