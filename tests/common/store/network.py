"""A client of an S3 server, and the faults that the network between them can have."""

from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config

from tests.faults import fault_proxy
from tests.faults.fault_proxy import Fault, FlippedDown, flipped_up, lost, refused, short

SECRET = "canary-secret-do-not-print"
Network = fault_proxy.Struck
FAULTS: dict[str, Callable[[], Fault]] = {
    "503": lambda: refused(503),
    "500": lambda: refused(500),
    "409": lambda: refused(409),
    "lost": lambda: lost,
    "cut": lambda: short,
    "flip up": lambda: flipped_up,
    "flip down": FlippedDown,
    "flip down, each time the same": lambda: FlippedDown(same=True),
}


def client(url: str, attempts: int = 1) -> Any:
    config = Config(
        retries={"mode": "standard", "total_max_attempts": attempts},
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        read_timeout=5,
    )
    return boto3.client(
        "s3",
        endpoint_url=url,
        config=config,
        region_name="us-east-1",
        aws_access_key_id="k",
        aws_secret_access_key=SECRET,
    )
