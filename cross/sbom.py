"""sbom.py NAME TARGET EPOCH CARGO FLAGS...: what is linked for TARGET, as CycloneDX 1.5 on standard output.

The flags choose a workspace, its packages and their features: one package is what the list is of, and is called NAME; several
are parts of NAME. Listed is every crate that they are linked from, with version, licence and digest, as Cargo resolved it, and
what Rust's toolchain adds: its standard library and the C library. Build scripts, macros and tests are not part of what is
linked and not listed.
"""

import json
import re
import subprocess
import sys
import time
import tomllib
import uuid


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def cargo(*arguments):
    return run("cargo", *arguments, "--locked")


def tree(target, edges, flags):
    """Each package as (name, version), with what it needs by such edges; and the packages that the flags chose."""
    needs, above, roots = {}, [], []
    lines = cargo("tree", "-e", f"{edges},no-proc-macro", f"--target={target}", "--prefix=depth", "--format= {p}", *flags).splitlines()
    # A line without anything is between the packages that were chosen.
    for line in filter(None, lines):
        # The rest is a path, or a star where what it needs was listed before.
        depth, name, version = line.split()[:3]
        package = name, version.removeprefix("v")
        del above[int(depth) :]
        needs.setdefault(package, set())
        if above:
            needs[above[-1]].add(package)
        else:
            roots.append(package)
        above.append(package)
    return needs, roots


def part(kind, name, version=None, **more):
    entry = {"type": "library", "name": name, "purl": f"pkg:{kind}/{name}"}
    if version:
        entry |= {"version": version, "purl": f"pkg:{kind}/{name}@{version}"}
    return entry | {"bom-ref": entry["purl"]} | more


def component(package, checksums, foreign):
    entry = part("cargo", package["name"], package["version"])
    if package.get("license"):
        # Old crates write a slash where SPDX says OR.
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    key = package["name"], package["version"]
    if key in checksums:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksums[key]}]
    if key in foreign:
        entry["properties"] = [{"name": "holds", "value": "C or assembly that the crate brings"}]
    return entry


def toolchain(target):
    """What Rust's toolchain links into every program for a target: its standard library, then the C library."""
    compiler = re.search(r"^release: (.*)$", run("rustc", "-vV"), re.M)[1]
    standard = part(
        "generic", "rust-std", compiler, licenses=[{"expression": "MIT OR Apache-2.0"}],
        description="Rust's standard library for the target as Rust's project compiled it, with the crates and the parts of LLVM in it",
    )
    if not target.endswith("-musl"):
        return standard, part("generic", "wasi-libc", description="as Rust's project compiled it; it does not name its version")
    library = f"{run('rustc', '--print', 'sysroot').strip()}/lib/rustlib/{target}/lib/self-contained/libc.a"
    # A musl without that part names no version, and then none is given.
    naming = subprocess.run(["ar", "p", library, "version.lo"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    named = re.search(rb"\0(\d+\.\d+\.\d+)\0", naming)
    return standard, part(
        "generic", "musl", named and named[1].decode(), licenses=[{"expression": "MIT"}], description="the C library, as Rust's project compiled it"
    )


def main(name, target, epoch, *flags):
    needs, roots = tree(target, "normal", flags)
    # Whose build script calls a C compiler.
    foreign = {package for package, wanted in tree(target, "normal,build", flags)[0].items() if any(name == "cc" for name, _ in wanted)}
    # Of the flags, Cargo's description of the workspace takes only where it is.
    where = flags[flags.index("--manifest-path") :][:2] if "--manifest-path" in flags else ()
    workspace = json.loads(cargo("metadata", "--format-version=1", *where))
    packages = {(package["name"], package["version"]): package for package in workspace["packages"]}
    with open(f"{workspace['workspace_root']}/Cargo.lock", "rb") as file:
        lock = tomllib.load(file)["package"]
    checksums = {(entry["name"], entry["version"]): entry["checksum"] for entry in lock if "checksum" in entry}
    components = {package: component(packages[package], checksums, foreign) for package in needs}
    refs = {package: entry["bom-ref"] for package, entry in components.items()}
    depends = {refs[package]: {refs[need] for need in wanted} for package, wanted in needs.items()}
    standard, system = toolchain(target)
    for root in roots:
        components[root]["type"] = "application"
        depends[refs[root]].add(standard["bom-ref"])
    depends |= {standard["bom-ref"]: {system["bom-ref"]}, system["bom-ref"]: set()}
    if len(roots) == 1:
        whole = dict(components.pop(roots[0]), name=name)
    else:
        whole = {"type": "application", "bom-ref": name, "name": name}
        depends[name] = {refs[root] for root in roots}
    parts = [*components.values(), standard, system]
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([target, sorted(depends)]))}",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(epoch))),
            "component": whole,
            "properties": [{"name": "target", "value": target}],
        },
        "components": sorted(parts, key=lambda entry: entry["bom-ref"]),
        "dependencies": [{"ref": ref, "dependsOn": sorted(wanted)} for ref, wanted in sorted(depends.items())],
    }
    json.dump(bom, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
