"""One agent as a process of its own, for the scripts that run some: starts it, asks it by HTTP and DNS, measures and ends it."""

import http.client
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import time

PATIENCE_S = 120
# A guest of qemu lies below this, and qemu itself above.
GUEST_END = 1 << 46
# Loopback addresses that another run beside this one hardly has.
NETWORK = random.randrange(1, 250)


class Agent:
    """One process with a data folder and an address of its own."""

    count = 0

    def __init__(self, command, folder, arguments):
        Agent.count += 1
        self.address = f"127.90.{NETWORK}.{Agent.count}"
        self.folder = os.path.join(folder, self.address)
        os.mkdir(self.folder)
        self.log = os.path.join(self.folder, "log")
        self.name = f"n{Agent.count}"
        own = [f"-node={self.name}", f"-bind={self.address}", f"-client={self.address}", f"-data-dir={self.folder}/data"]
        self.is_emulated = command[0].startswith("qemu-")
        self.began = time.monotonic()
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([*command, "agent", *own, *arguments], stdout=log, stderr=log)

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.address, 8500, timeout=30)
        try:
            connection.request(method, path, body if body is None or isinstance(body, str) else json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise OSError(f"{method} {path}: {answer.status} {text[:300]!r}")
            return text
        finally:
            connection.close()

    def get(self, path):
        return json.loads(self.request("GET", path))

    def wait(self, what, holds):
        """Asks until it holds; the agent may not even listen yet."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                if holds():
                    return time.monotonic() - self.began
            except (OSError, http.client.HTTPException):
                pass
            if self.process.poll() is not None or time.monotonic() > end:
                with open(self.log, encoding="utf-8", errors="replace") as log:
                    sys.exit(f"{self.address} never became {what}:\n{log.read()[-3000:]}")
            time.sleep(0.005)

    def wait_for_leader(self):
        return self.wait("part of a cluster with a leader", lambda: self.get("/v1/status/leader"))

    def usage(self):
        """CPU seconds, bytes written to the disk, resident and anonymous bytes."""
        of = f"/proc/{self.process.pid}/"
        with open(of + "stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        with open(of + "io") as io:
            written = int(re.search(r"^write_bytes: (\d+)", io.read(), re.M)[1])
        resident = anonymous = 0
        with open(of + "smaps") as smaps:
            for line in smaps:
                if found := re.match(r"([0-9a-f]+)-[0-9a-f]+ ", line):
                    counts = not self.is_emulated or int(found[1], 16) < GUEST_END
                elif counts and line.startswith("Rss:"):
                    resident += 1024 * int(line.split()[1])
                elif counts and line.startswith("Anonymous:"):
                    anonymous += 1024 * int(line.split()[1])
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), written, resident, anonymous

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def look_up(self, name):
        """Asks for the A records of a name; how many came."""
        question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(60)
            header = struct.pack("!6H", random.randrange(65536), 0x0100, 1, 0, 0, 0)
            asker.sendto(header + question + struct.pack("!2H", 1, 1), (self.address, 8600))
            answer = asker.recv(4096)
        return struct.unpack("!H", answer[6:8])[0]
