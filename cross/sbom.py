"""sbom.py TARGET EPOCH [CARGO FLAGS...]: what a binary consists of, as CycloneDX 1.5 on standard output.

Every crate that the agent is linked from for TARGET with those features, with version, licence and digest, as Cargo
resolved it. Build scripts, macros and tests are not part of the binary and not listed.
"""

import json
import subprocess
import sys
import time
import tomllib
import uuid


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments, "--locked"], check=True, stdout=subprocess.PIPE, text=True).stdout


def linked(target, flags):
    """What is linked into the agent, each as (name, version), and what each needs; the agent is the first."""
    tree = cargo("tree", "-p", "agent-daemon", "-e", "normal,no-proc-macro", f"--target={target}", "--prefix=depth", "--format= {p}", *flags)
    needs, above = {}, []
    for line in tree.splitlines():
        # The rest is a path, or a star where what it needs was listed before.
        depth, name, version = line.split()[:3]
        package = name, version.removeprefix("v")
        del above[int(depth) :]
        needs.setdefault(package, set())
        if above:
            needs[above[-1]].add(package)
        above.append(package)
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
    needs = linked(target, flags)
    packages = {(package["name"], package["version"]): package for package in json.loads(cargo("metadata", "--format-version=1"))["packages"]}
    with open("Cargo.lock", "rb") as file:
        lock = tomllib.load(file)["package"]
    checksums = {(entry["name"], entry["version"]): entry["checksum"] for entry in lock if "checksum" in entry}
    root = next(iter(needs))
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
