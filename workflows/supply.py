"""What images are made of: checked before they are built, and told beside them.

    python -m workflows.supply ready [--base NAME@sha256:…]       locks and base are pinned; SBOMs into docker/sbom
    python -m workflows.supply provenance IMAGE… --builder …      how images were built, into .undertone/images
    python -m workflows.supply deployed < RENDERED                images are named by digest, holes are narrow
    python -m workflows.supply advisories LOCK < AUDIT            what pip-audit found

`make images`, `make cluster` and `make audit-packages` call it.

An SBOM lists the Python packages that a lock installs, not the Debian packages of the base. Nothing is signed.
"""

import argparse
import ipaddress
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from common.cli import ended, parsed
from common.digests import file_sha256
from common.errors import ExitCode, InputError, SpecError, TransientError
from common.provenance import ROOT
from common.serialization import parse_json

LOCKS: dict[str, tuple[str, ...]] = {  # image → what is installed into it
    "cpu": ("docker/cpu.lock",),
    "gpu": ("docker/gpu.lock",),
    "demo": ("docker/cpu.lock", "docker/demo.lock", "model.lock"),
}
TOOLS = ("docker/uv.lock",)  # what installs the rest, and is left out of the images
PINNED = re.compile(r"\S+@sha256:[0-9a-f]{64}")
PACKAGE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==([^\s;\\]+)")
NOBODYS = [ipaddress.ip_network(each) for each in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]  # RFC 5737
OUT = ".undertone/images"


def packages(lock: Path) -> dict[str, str]:
    """Name and version of each package of a lock. Raises: InputError where one has no version or no hash."""
    found: dict[str, str] = {}
    text = re.sub(r"\\\n", " ", lock.read_text())
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        package = PACKAGE.match(line)
        if not package or not re.search(r"--hash=sha256:[0-9a-f]{64}(\s|$)", line):
            name = line.split()[0]
            allowed = "name==version --hash=sha256:…"
            raise InputError(
                "package without a version or a hash", where=f"{lock}, package {number}", value=name, allowed=allowed
            )
        found[package[1]] = package[2]
    return found


def base_of(root: Path, given: str = "") -> str:
    """The image that ours are built on. Raises: SpecError where it is not named by its digest."""
    found = re.search(r"^ARG BASE=(\S+)", (root / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    base = given or (found[1] if found else "")
    if not PINNED.fullmatch(base):
        where = "BASE" if given else "docker/Dockerfile, ARG BASE"
        raise SpecError("base image without a digest", where=where, value=base, allowed="NAME@sha256:<64 hex digits>")
    return base


def write_sbom(root: Path, image: str) -> Path:
    """Write the SBOM of an image, by CycloneDX. Raises: InputError if it does not list what the locks install."""
    locks = [root / lock for lock in LOCKS[image]]
    wanted = {name: version for lock in locks for name, version in packages(lock).items()}
    path = root / "docker" / "sbom" / f"{image}.cdx.json"
    path.parent.mkdir(exist_ok=True)
    words = [
        sys.executable,
        "-m",
        "cyclonedx_py",
        "requirements",
        "--output-reproducible",
        "--output-file",
        str(path),
        "-",
    ]
    made = subprocess.run(
        words, input="\n".join(lock.read_text() for lock in locks), capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise InputError("no SBOM was made", where=image, value=made.stderr.strip()[-300:])
    listed = {each["name"]: each["version"] for each in json.loads(path.read_text())["components"]}
    if listed != wanted:
        differ = sorted(name for name in {*listed, *wanted} if listed.get(name) != wanted.get(name))
        raise InputError("the SBOM does not list what the lock installs", where=str(path), value=", ".join(differ[:5]))
    return path


def ready(root: Path, base: str = "") -> None:
    """Check all that images are made of, and write their SBOMs. Raises: SpecError, InputError."""
    print(f"base: {base_of(root, base)}")
    for lock in TOOLS:
        packages(root / lock)
    for image in LOCKS:
        path = write_sbom(root, image)
        print(f"{path.relative_to(root)}: {len(json.loads(path.read_text())['components'])} packages")


def statement(root: Path, image: str, digest: str, base: str, facts: Mapping[str, str]) -> dict[str, Any]:
    """How an image was built: an in-toto statement with SLSA's provenance, not signed.

    image: undertone/cpu:demo; digest: its id, sha256:…; facts: builder, commit, torch.
    """
    kind = "demo" if image.endswith(":demo") else image.partition("/")[2].partition(":")[0]
    files = (*LOCKS[kind], *TOOLS, f"docker/sbom/{kind}.cdx.json", "docker/Dockerfile", "docker/install.sh")
    made_of = [{"name": name, "digest": {"sha256": file_sha256(root / name)}} for name in files]
    made_of.append({"uri": f"docker://{base}", "digest": {"sha256": base.rpartition(":")[2]}})
    made_of.append({"name": "source", "digest": {"gitCommit": facts["commit"]}})
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": image, "digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://slsa.dev/container-based-build/v0.1",
                "externalParameters": {"target": kind, "base": base, "torch": facts["torch"]},
                "resolvedDependencies": made_of,
            },
            "runDetails": {"builder": {"id": facts["builder"]}},
        },
    }


def provenance(root: Path, images: Sequence[str], base: str, facts: Mapping[str, str]) -> None:
    """Write the provenance of built images. Raises: InputError where the builder has no such image."""
    folder = root / OUT
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        words = [facts["builder"], "images", "--quiet", "--no-trunc", image]
        made = subprocess.run(words, capture_output=True, text=True, check=False)
        digest = (made.stdout.split() or [""])[0]
        if not re.fullmatch(r"(sha256:)?[0-9a-f]{64}", digest):
            raise InputError("no such image", where=facts["builder"], value=image, allowed="make images")
        path = folder / f"{image.replace('/', '-').replace(':', '-')}.provenance.json"
        path.write_text(json.dumps(statement(root, image, digest, base_of(root, base), facts), indent=2) + "\n")
        print(path.relative_to(root))


def deployed(text: str) -> None:
    """Check what goes to a cluster whose nodes pull images. Raises: SpecError naming the object and the field."""
    documents = [document for document in yaml.safe_load_all(text) if document]
    if not documents:
        raise SpecError("nothing was rendered", where="stdin", allowed="what `kubectl kustomize` prints")
    for document in documents:
        name = f"{document['kind']} {document['metadata']['name']}"
        for place, field, value in _fields(document):
            if field == "image" and isinstance(value, str) and not PINNED.fullmatch(value):
                allowed = "NAME@sha256:<64 hex digits>; `digest` in the overlay's images"
                raise SpecError("image without a digest", where=f"{name}, {place}", value=value, allowed=allowed)
            if field == "cidr":
                block = ipaddress.ip_network(value)
                if block.prefixlen < 8:
                    raise SpecError(
                        "a hole to everybody",
                        where=f"{name}, {place}",
                        value=value,
                        allowed="the addresses of a service",
                    )
                if any(block.version == 4 and block.subnet_of(each) for each in NOBODYS):  # type: ignore[arg-type]
                    raise SpecError(
                        "an address of nobody",
                        where=f"{name}, {place}",
                        value=value,
                        allowed="those of your S3 service",
                    )


def _fields(value: Any, place: str = "") -> Iterator[tuple[str, str, Any]]:
    """Place, name and value of every field of a document."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield f"{place}.{name}".lstrip("."), name, each
            yield from _fields(each, f"{place}.{name}".lstrip("."))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _fields(each, f"{place}.{number}")


def advisories(lock: Path, audit: str) -> ExitCode:
    """Tell what pip-audit said of a lock, as JSON. 10: advisories; 75: packages that were not looked up.

    Raises: TransientError naming how many were not looked up, first of all: silence is no news.
    """
    said = (
        {each["name"]: each for each in parse_json(audit.encode(), "pip-audit")["dependencies"]}
        if audit.strip()
        else {}
    )
    missing = [name for name in packages(lock) if name not in said or "skip_reason" in said[name]]
    known = {name: each["vulns"] for name, each in said.items() if each.get("vulns")}
    for name, found in sorted(known.items()):
        for each in found:
            print(
                f"{name} {said[name]['version']}: {each['id']}, mended in",
                ", ".join(each["fix_versions"]) or "no version",
            )
    if missing:
        value = f"{len(missing)} of {len(packages(lock))} packages, such as {missing[0]}"
        raise TransientError("not run: the advisory service did not answer", where=str(lock), value=value)
    print(f"{lock}: {len(said)} packages looked up, {len(known)} with advisories")
    return ExitCode.BLOCKED if known else ExitCode.OK


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    arguments = parsed(_parser(), argv)
    return ended(lambda: int(_run(arguments)))


def _run(arguments: argparse.Namespace) -> ExitCode:
    if arguments.command == "ready":
        ready(ROOT, arguments.base)
    elif arguments.command == "provenance":
        facts = {name: getattr(arguments, name) for name in ("builder", "commit", "torch")}
        provenance(ROOT, arguments.image, arguments.base, facts)
    elif arguments.command == "deployed":
        deployed(sys.stdin.read())
    else:
        return advisories(arguments.lock, sys.stdin.read())
    return ExitCode.OK


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m workflows.supply", description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("ready", help="check locks and base; write SBOMs")
    two = commands.add_parser("provenance", help="write how built images came about")
    commands.add_parser("deployed", help="check rendered manifests on stdin")
    commands.add_parser("advisories", help="tell what pip-audit said on stdin").add_argument("lock", type=Path)
    two.add_argument("image", nargs="+")
    for name in ("builder", "commit", "torch"):
        two.add_argument(f"--{name}", required=True)
    for each in (one, two):
        each.add_argument("--base", default="", help="another base than the Dockerfile's")
    return parser


if __name__ == "__main__":
    sys.exit(main())
