"""image.py BINARY ARCHITECTURE VERSION EPOCH AUTHORITIES OUT: an OCI image of one layer, as an archive that `docker load` takes.

Made without a daemon: an OCI image layout (image-spec 1.1) with the `manifest.json` that older Dockers look for. The
root holds the binary, under Consul's names too, the folders that Consul's image has, who may own them, and the
certificate authorities that checks by HTTPS trust. The same inputs give the same bytes.
"""

import gzip
import hashlib
import io
import json
import sys
import tarfile
import time

# Consul's image runs the agent as this user, so volumes that were its stay readable. It starts as root, as this one does, to make
# the volumes its user's: the entrypoint does that and then runs the agent as this user.
USER, GROUP = 100, 1000

PASSWD = f"root:x:0:0:root:/:/nonexistent\nconsul:x:{USER}:{GROUP}:consul:/consul:/nonexistent\n"
GROUPS = f"root:x:0:\nconsul:x:{GROUP}:\n"


class Tar:
    """A tar archive whose entries have no time but `epoch`, and no owner but the one given."""

    def __init__(self, epoch):
        self.epoch = epoch
        self.bytes = io.BytesIO()
        self.archive = tarfile.open(fileobj=self.bytes, mode="w", format=tarfile.USTAR_FORMAT)

    def add(self, name, kind, mode, content=b"", target="", owner=(0, 0)):
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.mtime = kind, mode, self.epoch
        entry.uid, entry.gid = owner
        entry.size, entry.linkname = len(content), target
        self.archive.addfile(entry, io.BytesIO(content))

    def folder(self, name, mode=0o755, owner=(0, 0)):
        self.add(name, tarfile.DIRTYPE, mode, owner=owner)

    def file(self, name, content, mode=0o644):
        self.add(name, tarfile.REGTYPE, mode, content=content)

    def link(self, name, target):
        self.add(name, tarfile.SYMTYPE, 0o777, target=target)

    def finish(self):
        self.archive.close()
        return self.bytes.getvalue()


def root(binary, authorities, epoch):
    """The layer: what the container sees."""
    tar = Tar(epoch)
    for name in ["bin", "etc", "etc/ssl", "etc/ssl/certs", "usr", "usr/local", "usr/local/bin"]:
        tar.folder(name)
    tar.folder("tmp", mode=0o1777)
    for name in ["consul", "consul/config", "consul/data"]:
        tar.folder(name, owner=(USER, GROUP))
    tar.file("bin/lictor", binary, mode=0o755)
    tar.link("bin/consul", "lictor")
    tar.link("usr/local/bin/docker-entrypoint.sh", "/bin/lictor")
    tar.file("etc/passwd", PASSWD.encode())
    tar.file("etc/group", GROUPS.encode())
    tar.file("etc/ssl/certs/ca-certificates.crt", authorities)
    return tar.finish()


def main(binary, architecture, version, epoch, authorities, out):
    epoch = int(epoch)
    with open(binary, "rb") as program, open(authorities, "rb") as certificates:
        layer = root(program.read(), certificates.read(), epoch)
    blobs = {}

    def blob(content, media_type):
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def document(value):
        return json.dumps(value, indent=1, sort_keys=True).encode()

    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    config = blob(
        document({
            "created": created,
            "architecture": architecture,
            "os": "linux",
            "config": {
                "Entrypoint": ["docker-entrypoint.sh"],
                "Cmd": ["agent", "-dev", "-client", "0.0.0.0"],
                "Env": ["PATH=/usr/local/bin:/bin"],
                "ExposedPorts": {
                    port: {}
                    for port in ["8300/tcp", "8301/tcp", "8301/udp", "8302/tcp", "8302/udp", "8500/tcp", "8600/tcp", "8600/udp"]
                },
                "Volumes": {"/consul/data": {}},
                "Labels": {"org.opencontainers.image.title": "lictor", "org.opencontainers.image.version": version},
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
            "history": [{"created": created, "created_by": "cross/image.py"}],
        }),
        "application/vnd.oci.image.config.v1+json",
    )
    packed = blob(gzip.compress(layer, 9, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")
    manifest = blob(
        document({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": [packed],
        }),
        "application/vnd.oci.image.manifest.v1+json",
    )
    name = f"lictor:{version}"
    manifest["annotations"] = {"io.containerd.image.name": f"docker.io/library/{name}", "org.opencontainers.image.ref.name": version}
    manifest["platform"] = {"architecture": architecture, "os": "linux"}

    def at(descriptor):
        return "blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")

    archive = Tar(epoch)
    archive.file("oci-layout", document({"imageLayoutVersion": "1.0.0"}))
    archive.file("index.json", document({"schemaVersion": 2, "manifests": [manifest]}))
    archive.file("manifest.json", document([{"Config": at(config), "RepoTags": [name], "Layers": [at(packed)]}]))
    archive.folder("blobs")
    archive.folder("blobs/sha256")
    for digest in sorted(blobs):
        archive.file(f"blobs/sha256/{digest}", blobs[digest])
    with open(out, "wb") as file:
        file.write(archive.finish())


if __name__ == "__main__":
    main(*sys.argv[1:])
