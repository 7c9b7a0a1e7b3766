"""Who may do what in a SeaweedFS of ours: a key for each role, and the rights of each, as its S3 server takes them.

job      what steps do: read, list, write; delete checkpoints, and nothing else
reader   read and list
admin    everything: the server's own set-up, and whoever cleans up or restores
"""

import json
import secrets
from collections.abc import Mapping
from typing import Any, TypeGuard

BUCKET = "undertone"
ROLES = ("job", "reader", "admin")
ID, SECRET = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"

Keys = Mapping[str, Mapping[str, str]]  # role → ID and SECRET

_OBJECTS = f"arn:aws:s3:::{BUCKET}/*"
_READ = [  # in any bucket: there is no other one, and without the right a bucket that is not there is "forbidden"
    {
        "Effect": "Allow",
        "Action": ["s3:ListBucket", "s3:GetBucketLocation", "s3:GetObject"],
        "Resource": ["arn:aws:s3:::*"],
    }
]
_WRITE = [
    {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": [_OBJECTS]},
    {"Effect": "Allow", "Action": ["s3:DeleteObject"], "Resource": [f"{_OBJECTS}/checkpoints/*"]},
]
POLICIES = {"job": [*_READ, *_WRITE], "reader": _READ}


def new_keys() -> dict[str, str]:
    """Random keys of one role."""
    return {ID: secrets.token_hex(10), SECRET: secrets.token_hex(20)}


def complete(keys: Any) -> TypeGuard[Keys]:
    """Whether every role has both of its keys."""
    return isinstance(keys, dict) and all(
        isinstance(keys.get(role), dict) and {ID, SECRET} <= keys[role].keys() for role in ROLES
    )


def settings(keys: Keys) -> str:
    """The server's file of identities (`-s3.config`), with their policies."""
    identities = [
        {
            "name": f"undertone-{role}",
            "credentials": [{"accessKey": keys[role][ID], "secretKey": keys[role][SECRET]}],
            **({"policyNames": [role]} if role in POLICIES else {"actions": ["Admin"]}),
        }
        for role in ROLES
    ]
    policies = [
        {"name": role, "content": json.dumps({"Version": "2012-10-17", "Statement": statements})}
        for role, statements in POLICIES.items()
    ]
    return json.dumps({"identities": identities, "policies": policies})
