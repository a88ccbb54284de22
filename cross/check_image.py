"""check_image.py ARCHIVE ROOT: an image archive is whole (every digest is right), has one layer and Consul's entrypoint;
unpacks it into ROOT.
"""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile


def ok(what):
    print(f"  ok: {what}")


def main(path, root):
    with tarfile.open(path) as archive:
        files = {entry.name: archive.extractfile(entry).read() for entry in archive if entry.isfile()}

    def blob(descriptor):
        algorithm, digest = descriptor["digest"].split(":")
        content = files[f"blobs/{algorithm}/{digest}"]
        assert hashlib.sha256(content).hexdigest() == digest, f"{digest} is damaged"
        assert len(content) == descriptor["size"], f"{digest} has {len(content)} bytes"
        return content

    assert json.loads(files["oci-layout"])["imageLayoutVersion"] == "1.0.0"
    [entry] = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(blob(entry))
    config = json.loads(blob(manifest["config"]))
    [descriptor] = manifest["layers"]
    layer = gzip.decompress(blob(descriptor))
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"], "the layer is not the config's"
    [loaded] = json.loads(files["manifest.json"])
    assert loaded["Layers"] == ["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")], "docker load would find another layer"
    ok(f"one layer of {len(layer)} bytes, {descriptor['size']} packed; every digest is right")
    run = config["config"]
    assert run["Entrypoint"] == ["docker-entrypoint.sh"] and run["Cmd"][0] == "agent" and list(run["Volumes"]) == ["/consul/data"], run
    assert "User" not in run, "it does not start as root, so it can't make a volume its user's"
    ok("Consul's entrypoint, arguments and volume; starts as root")
    os.makedirs(root)
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        entries = {entry.name: entry for entry in archive}
        for name in ["consul", "consul/config", "consul/data"]:
            assert (entries[name].uid, entries[name].gid) == (100, 1000), f"{name} is not the agent's"
        authorities = entries["etc/ssl/certs/ca-certificates.crt"]
        assert authorities.mode == 0o644, f"the certificate authorities have mode {authorities.mode:o}"
        count = archive.extractfile(authorities).read().count(b"-----BEGIN CERTIFICATE-----")
        assert count >= 100, f"{count} certificate authorities"
        ok(f"folders of its user; {count} certificate authorities")
        archive.extractall(root, numeric_owner=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
