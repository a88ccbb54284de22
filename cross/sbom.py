"""sbom.py TARGET EPOCH [CARGO FLAGS...]: what a binary consists of, as CycloneDX 1.5 on standard output.

Every crate that the agent is linked from for TARGET with those features, with version, licence and digest, as Cargo
resolved it; build scripts and tests are not part of the binary and not listed.
"""

import json
import subprocess
import sys
import time
import tomllib
import uuid


def metadata(target, flags):
    command = ["cargo", "metadata", "--format-version=1", "--locked", f"--filter-platform={target}", *flags]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def linked(found, root):
    """The ids of the packages that are linked into `root`, and what each needs."""
    nodes = {node["id"]: node for node in found["resolve"]["nodes"]}
    needs, left = {}, [root]
    while left:
        package = left.pop()
        if package in needs:
            continue
        needs[package] = sorted(
            dep["pkg"] for dep in nodes[package]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])
        )
        left.extend(needs[package])
    return needs


def component(package, checksums):
    entry = {
        "type": "library",
        "bom-ref": f"pkg:cargo/{package['name']}@{package['version']}",
        "name": package["name"],
        "version": package["version"],
        "purl": f"pkg:cargo/{package['name']}@{package['version']}",
    }
    if package.get("license"):
        # Old crates write a slash where SPDX says OR.
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return entry


def main(target, epoch, *flags):
    found = metadata(target, flags)
    packages = {package["id"]: package for package in found["packages"]}
    root = next(package["id"] for package in found["packages"] if package["name"] == "agent-daemon")
    with open("Cargo.lock", "rb") as file:
        lock = tomllib.load(file)["package"]
    checksums = {(entry["name"], entry["version"]): entry["checksum"] for entry in lock if "checksum" in entry}
    needs = linked(found, root)
    components = {package: component(packages[package], checksums) for package in needs}
    agent = dict(components.pop(root), type="application", name="lictor")
    refs = {package: entry["bom-ref"] for package, entry in components.items()} | {root: agent["bom-ref"]}
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([target, sorted(refs.values())]))}",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(epoch))),
            "component": agent,
            "properties": [{"name": "target", "value": target}],
        },
        "components": sorted(components.values(), key=lambda entry: entry["bom-ref"]),
        "dependencies": sorted(
            ({"ref": refs[package], "dependsOn": sorted(refs[need] for need in wanted)} for package, wanted in needs.items()),
            key=lambda entry: entry["ref"],
        ),
    }
    json.dump(bom, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
