"""Send studies to a Kubernetes with Argo Workflows, watch them, and fetch what they found.

    python -m workflows.cluster submit --spec workflows/specs/demo.json [--set seeds=4] [--dry-run]
    python -m workflows.cluster status [NAME] [--watch]
    python -m workflows.cluster fetch-report [NAME] [--out FOLDER]
    python -m workflows.cluster prepare

The cluster is the one that KUBECONFIG names. `prepare` is the part of `make cluster` that YAML cannot say.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console

from common.cli import changes, ended, parsed
from common.errors import ExitCode, InputError
from common.provenance import ROOT
from common.serialization import parse_json
from common.spec import override, parse_spec
from common.store.sealed import open_store
from jobs import catalog
from workflows.cluster.api_server import IDENTITIES, SECRETS, STORE_SECRET, Cluster
from workflows.cluster.status import FAILED, Standing
from workflows.cluster.store import STORE, reachable
from workflows.cluster.workflow import ENDED, NAMESPACE, phase_of, workflow_of
from workflows.local.command import RUNS
from workflows.local.results import write_outputs
from workflows.local.roles import new_keys, settings

SPECS = ROOT / "workflows" / "specs"
LOOK = 3  # seconds between looks at a Workflow
PATIENCE = 60  # seconds that a step may wait while one watches: every pod waits a little


def submit(arguments: argparse.Namespace) -> int:
    """Check a spec and the cluster, then create the Workflow."""
    path: Path = arguments.spec
    data = override(path.read_bytes(), str(path), changes(arguments.set))
    spec = parse_spec(data, str(path))
    shipped = _is_shipped(path.stem, data)
    name = path.stem if shipped else spec.run_id
    given = {place: getattr(arguments, place) for place in ("store", "releases") if getattr(arguments, place)}
    workflow = workflow_of(name, arguments.template, arguments.namespace, given)
    if arguments.dry_run:
        print(yaml.safe_dump(workflow, sort_keys=False), end="")
        return int(ExitCode.OK)
    cluster = Cluster(arguments.namespace)
    cluster.check(arguments.template)
    if not shipped:
        cluster.keep_spec(name, spec)
    made = cluster.create(workflow)
    print(f"submitted {made}\n  make status NAME={made} WATCH=1\n  make fetch-report NAME={made}")
    return int(ExitCode.OK)


def _is_shipped(name: str, data: bytes) -> bool:
    """Whether a spec is word for word the one that the cluster holds under this name."""
    shipped = SPECS / f"{name}.json"
    return shipped.is_file() and parse_json(data, name) == parse_json(shipped.read_bytes(), str(shipped))


def status(arguments: argparse.Namespace) -> int:
    """Show a Workflow: exit 0 while it runs or if it succeeded, 1 if it failed."""
    cluster = Cluster(arguments.namespace)
    workflow = cluster.workflow(arguments.name)
    with Standing(Console(highlight=False), PATIENCE if arguments.watch else 0.0) as standing:
        standing.show(cluster, workflow)
        while arguments.watch and phase_of(workflow) not in ENDED:
            time.sleep(LOOK)
            workflow = cluster.workflow(workflow["metadata"]["name"])
            standing.show(cluster, workflow)
    return int(ExitCode.BUG if phase_of(workflow) in FAILED else ExitCode.OK)


def fetch_report(arguments: argparse.Namespace) -> int:
    """Download the sealed report of a Workflow, found by what its run noted in the store."""
    cluster = Cluster(arguments.namespace)
    workflow = cluster.workflow(arguments.name)
    spec = cluster.spec(workflow)
    with reachable(cluster.readers_credentials()):
        store = open_store(arguments.store or STORE)
        notes = [note for note in store.run_notes(spec.run_id) if note.get("job") == "report"]
        key = str(notes[0].get("key")) if notes else ""
        manifest = store.manifest("report", key) if key else None
        if manifest is None:
            name = workflow["metadata"]["name"]
            raise InputError(
                "no report yet", where=f"workflow {name}", value=spec.run_id, allowed=f"make status NAME={name}"
            )
        folder = arguments.out or RUNS / spec.run_id / "cluster-report"
        write_outputs(manifest, store, folder, catalog()["report"])
    print(f"report: {folder / 'REPORT.md'} and {folder / 'report.html'}")
    return int(ExitCode.OK)


def prepare(arguments: argparse.Namespace) -> int:
    """Make the store's Secrets where there are none, and let jobs reach the API server and no other address."""
    cluster = Cluster(arguments.namespace)
    _make_roles(cluster)
    print("jobs may reach the API server at " + ", ".join(cluster.let_jobs_reach_api_server()))
    return int(ExitCode.OK)


def _make_roles(cluster: Cluster) -> None:
    """Keys of each role for the store of the cluster, and what the store reads. Not for a store that is elsewhere."""
    endpoint = f"http://store.{cluster.namespace}.svc:8333"
    place = {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_S3": endpoint}
    keys = {role: cluster.secret(name) for role, name in SECRETS.items()}
    if keys["job"] and keys["job"].get("AWS_ENDPOINT_URL_S3") != endpoint:
        return
    for role, name in SECRETS.items():
        if not keys[role]:
            keys[role] = {**new_keys(), **place}
            cluster.make_secret(name, keys[role] or {})
            print(f"made Secret {name} with random keys")
    identities = settings({role: found for role, found in keys.items() if found})
    if (cluster.secret(STORE_SECRET) or {}).get(IDENTITIES) != identities:
        cluster.make_secret(STORE_SECRET, {IDENTITIES: identities})
        print(f"made Secret {STORE_SECRET}; a store that runs reads it when it starts again")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    arguments = parsed(_parser(), argv)
    try:
        return ended(lambda: arguments.run(arguments))
    except KeyboardInterrupt:
        return int(ExitCode.TRANSIENT)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m workflows.cluster", description=__doc__, formatter_class=raw)
    parser.add_argument("--namespace", "-n", default=NAMESPACE)
    commands = parser.add_subparsers(dest="command", required=True)
    for function in (submit, status, fetch_report, prepare):
        doc = (function.__doc__ or "").partition(". Raises")[0]
        sub = commands.add_parser(function.__name__.replace("_", "-"), help=doc, description=doc)
        sub.set_defaults(run=function)
        if function is submit:
            sub.add_argument("--spec", type=Path, required=True, help="what to run, as workflows/specs/demo.json")
            sub.add_argument(
                "--set", action="append", default=[], metavar="NAME=VALUE", help="seeds=8, train.epochs=2, …"
            )
            sub.add_argument("--template", default="study", help="study, or release: train, evaluate, gate, publish")
            sub.add_argument(
                "--releases", help="where a release puts adapters that passed (default: s3://undertone/releases)"
            )
            sub.add_argument("--dry-run", action="store_true", help="print the Workflow; create nothing")
        if function in (status, fetch_report):
            sub.add_argument("name", nargs="?", help="a Workflow (default: the newest)")
        if function is status:
            sub.add_argument("--watch", action="store_true", help="go on until it ends")
        if function in (submit, fetch_report):
            sub.add_argument("--store", help=f"where artifacts live (default: {STORE})")
        if function is fetch_report:
            sub.add_argument("--out", type=Path, help="where to (default: .undertone/runs/<run id>/cluster-report)")
    return parser
