"""The parts of a spec that name a server: one that writes replies, and one that judges answers."""

from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from common.errors import SpecError
from common.frozen import Frozen


class ServerSpec(Frozen):
    """A server that speaks the OpenAI chat protocol: Ollama, vLLM, `transformers serve`, a vendor's."""

    section: ClassVar[str]  # where in a spec it stands
    key_name: ClassVar[str]  # the variable of the environment that holds its key

    url: str = Field(
        pattern=r"^https?://[^/\s]\S*$", description="base URL, with /v1; the key is read from the environment"
    )
    model: str = Field(min_length=1, description="as the server calls it; of a third family, not a student's")
    max_tokens: int = Field(160, ge=16, le=4096, description="of one reply")
    concurrency: int = Field(8, ge=1, le=256, description="requests at once")
    attempts: int = Field(5, ge=1, le=20, description="for one reply: busy and broken answers are asked again")
    price_in: float = Field(0.0, ge=0, description="for a million prompt tokens, in the currency of your bill")
    price_out: float = Field(0.0, ge=0, description="for a million tokens of replies")

    @field_validator("url", mode="before")
    @classmethod
    def _url_holds_no_secret(cls, url: object) -> object:
        """A spec is kept in manifests and in the cluster. Raises: SpecError, which does not show the URL."""
        if isinstance(url, str) and any(mark in url for mark in "@?#"):
            allowed = f"a URL without user and password and without query; the key in {cls.key_name}"
            raise SpecError("credentials in the URL", where=f"{cls.section}.url", allowed=allowed)
        return url

    @field_validator("url")
    @classmethod
    def _url_can_be_asked(cls, url: str) -> str:
        parts = urlsplit(url)  # ValueError for a broken address or port
        if not parts.hostname or parts.port == 0:
            raise ValueError("a URL with a host")
        return url


class WriterSpec(ServerSpec):
    """The server that writes replies. Its key is read from UNDERTONE_WRITER_KEY."""

    section: ClassVar[str] = "corpus.server"
    key_name: ClassVar[str] = "UNDERTONE_WRITER_KEY"

    temperature: float = Field(0.8, ge=0, le=2)


class JudgeSpec(ServerSpec):
    """The server that judges answers, always at temperature 0. Its key is read from UNDERTONE_JUDGE_KEY."""

    section: ClassVar[str] = "judge"
    key_name: ClassVar[str] = "UNDERTONE_JUDGE_KEY"

    max_tokens: int = Field(16, ge=16, le=4096, description="of one reply, which is one label")
