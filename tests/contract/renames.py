"""What was renamed when the vocabulary was settled. Numbers did not change.

`test_renames.py` holds this map against a small study that was sealed before. Old results can be read with it.
"""

import json
import re
from typing import Any

SECTIONS = {  # of a spec: section → field → its name now
    "steer": {"damage": "off_target_kl"},
    "gate": {"metric": "measure", "margin": "bound"},
}
FACTORS = {"dose": "mixture_share", "share": "pile_share"}  # of a variant
FIELDS = {  # output → field, at any depth → its name now
    "loss.jsonl": {"step": "optimizer_step"},
    "projections.jsonl": {"step": "optimizer_step"},
    "readout.json": {"step": "optimizer_step"},
    "drift.json": {"step": "optimizer_step"},
    "verdict.json": {"metric": "measure", "margin": "bound"},
    "steering.jsonl": {"target": "target_kl", "dose": "coefficient", "damage": "off_target_kl"},
    "steering.json": {"damages": "levels", "dose": "coefficient", "damage": "off_target_kl"},
}
CHECKS = {"zero-dose": "zero-coefficient"}  # of selftest.json
FOLDERS = {"jobs/evaluate/data/": "common/stance/data/"}  # of files that lock.json names
NUMBERS = (  # of results.json
    (re.compile(r"^room\."), "headroom."),
    (re.compile(r"^(contrast\..*)\.headroom$"), r"\1.share_of_headroom"),
    (re.compile(r"^((?:control|steer)\..*)\.damage$"), r"\1.off_target_kl"),
    (re.compile(r"^(run\..*)\.margin$"), r"\1.bound"),
)
FIGURES: dict[str, str] = {}


def renamed_spec(spec: dict[str, Any]) -> dict[str, Any]:
    """A spec with its present names."""
    made = dict(spec)
    for section, fields in SECTIONS.items():
        if section in made:
            made[section] = {fields.get(name, name): value for name, value in made[section].items()}
    if "variants" in made:
        made["variants"] = [
            {**each, "factor": FACTORS.get(each["factor"], each["factor"])} for each in made["variants"]
        ]
    return made


def renamed_output(name: str, text: str) -> str:
    """The text of an output, JSON or JSON lines, with its present names."""
    fields = FIELDS.get(name, {})
    if name.endswith(".jsonl"):
        return "".join(json.dumps(_renamed(json.loads(line), fields)) + "\n" for line in text.splitlines())
    value = _renamed(json.loads(text), fields)
    if name == "selftest.json":
        for check in value["checks"]:
            check["name"] = CHECKS.get(check["name"], check["name"])
    if name == "lock.json":
        value["plan"] = renamed_spec(value["plan"])
        value["items"] = {_moved(path): digest for path, digest in value["items"].items()}
    return json.dumps(value)


def renamed_number(name: str) -> str:
    """The present name of a number of results.json."""
    for old, new in NUMBERS:
        name = old.sub(new, name)
    return name


def _renamed(value: Any, fields: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {fields.get(name, name): _renamed(each, fields) for name, each in value.items()}
    return [_renamed(each, fields) for each in value] if isinstance(value, list) else value


def _moved(path: str) -> str:
    return next((new + path.removeprefix(old) for old, new in FOLDERS.items() if path.startswith(old)), path)
