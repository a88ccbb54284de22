"""check_image.py ARCHIVE ROOT: an image archive is whole (every digest is right), has one layer and Consul's entrypoint; unpacks it into ROOT."""

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
    assert run["Entrypoint"] == ["docker-entrypoint.sh"] and run["Cmd"][0] == "agent" and run["User"] == "100:1000", run
    ok("Consul's entrypoint, arguments, user and volume")
    os.makedirs(root)
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        archive.extractall(root, numeric_owner=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
