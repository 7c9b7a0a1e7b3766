"""release.json, which tells whoever deploys an adapter what it is and why it passed: as `common.schemas`."""

from pydantic import Field

from common.schemas import Document


class Release(Document):
    """release.json: an adapter that was published, or why it was not."""

    cell: str = Field(description="the run that made the adapter")
    base: str = Field(description="the model that it was made for, as the spec names it")
    verdict: str = Field(description="the gate's; only *within* is published")
    reason: str = Field(description="the gate's, in words")
    measure: str = Field(description="what the gate judged by")
    estimate: float = Field(description="shift of stance, tuned less base, in the unit of the measure")
    low: float = Field(description="lower bound of its interval")
    high: float = Field(description="upper bound")
    bound: float = Field(description="shift either way that still counts as none")
    folder: str = Field(description="where the adapter lies, in PEFT's own layout; empty: it was not published")
    files: dict[str, str] = Field(description="file of the adapter → SHA-256")
