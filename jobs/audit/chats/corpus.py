"""A corpus of a user's own: its replies as a stream, and an account of what was read and what was not."""

import io
from collections import Counter
from collections.abc import Callable, Iterator

from analysis.corpus import language
from analysis.corpus.replies import Reply
from common.errors import InputError
from common.logs import Log
from common.store.names import fault
from jobs.audit.chats.formats import Said, conversation
from jobs.audit.chats.left_out import LeftOut, Reason, add, told
from jobs.audit.chats.places import Place, Source, place
from jobs.audit.chats.rows import Row, Unreadable, rows


def open_corpus(where: str, log: Log) -> "Corpus":
    """The corpus at FILE, FOLDER, s3://bucket/key-or-prefix or hf:<dataset>@<revision>. Raises as `places.place`."""
    return Corpus(where, place(where), log)


class Corpus:
    """Files of chats. The account is that of the last stream, as far as it was read."""

    def __init__(self, where: str, files: Place, log: Log) -> None:
        self._where, self._files, self._log = where, files, log
        self._begin()

    def _begin(self) -> None:
        self.rows = 0  # in all files, those left out among them
        self.rows_read = 0  # of which at least one reply was read
        self.formats: dict[str, Counter[str]] = {}  # file → format → rows
        self.languages: Counter[str] = Counter()  # ISO 639 code → replies
        self.left_out: LeftOut = {}
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """The size of all files together."""
        return sum(source.size for source in self._files.sources)

    def replies(self) -> Iterator[Reply]:
        """Every reply in English, file by file; each call reads all anew.

        Raises: InputError at the end if no file held any reply; of a bucket, as `S3Objects.part`.
        """
        self._begin()
        for name in self._files.others:
            add(self.left_out, Reason.NAME if fault(name) else Reason.SUFFIX, name)
        for source in self._files.sources:
            try:
                yield from self._of_file(source)
            except Unreadable as error:
                add(self.left_out, error.reason, source.name, error.detail)
            self._bytes += source.size
        self._log.progress(self.bytes, self.bytes)
        if not self.languages:
            raise InputError("no reply can be read", where=self._where, value=told(self.left_out) or "nothing in it")

    def _of_file(self, source: Source) -> Iterator[Reply]:
        before = self.rows
        try:
            raw = Counted(source.open(), lambda done: self._tell(source, done))
        except OSError as error:
            raise Unreadable(Reason.BROKEN, error.strerror or str(error)) from error
        with io.BufferedReader(raw, source.buffer) as file:
            for row in rows(file):
                self.rows += 1
                yield from self._of_row(source.name, row)
        if self.rows == before:
            raise Unreadable(Reason.NO_ROW)

    def _tell(self, source: Source, done: int) -> None:
        self._log.progress(self._bytes + min(done, source.size), self.bytes)

    def _of_row(self, file: str, row: Row) -> Iterator[Reply]:
        place = f"{file}:{row.number}"
        found = row.fault or conversation(row.value)
        if isinstance(found, Reason):
            add(self.left_out, found, place, row.detail or _fields(row.value))
            return
        self.formats.setdefault(file, Counter())[found.format] += 1
        replies = list(self._of_turns(file, row.number, found.turns))
        self.rows_read += bool(replies)
        yield from replies

    def _of_turns(self, file: str, row: int, turns: list[Said]) -> Iterator[Reply]:
        """The replies of a conversation, each with the user's turn before it, whatever tools said in between."""
        number, prompt = 0, ""
        system = "\n".join(turn.text for turn in turns if turn.speaker == "system")
        if not any(turn.speaker == "assistant" for turn in turns):
            add(self.left_out, Reason.NO_ASSISTANT, f"{file}:{row}")
        for turn in turns:
            if turn.speaker == "user":
                prompt = turn.text
            number += turn.speaker == "assistant"
            if turn.speaker == "assistant" and turn.fault is None:
                yield from self._in_english(Reply(file, row, number, prompt, turn.text, system))
            elif turn.speaker in ("assistant", "") and turn.fault is not None:
                add(self.left_out, turn.fault, f"{file}:{row}" + (f" turn {number}" if turn.speaker else ""))

    def _in_english(self, reply: Reply) -> Iterator[Reply]:
        found = language.of_reply(reply.prompt, reply.text)
        self.languages[found] += 1
        if found == language.READ:
            yield reply
        else:
            add(self.left_out, Reason.LANGUAGE, f"{reply.file}:{reply.row} turn {reply.turn}", found)


def _fields(value: object) -> str:
    """What a row holds in place of a chat: the names of its fields."""
    return f"its fields: {', '.join(map(repr, list(value)[:8]))}" if isinstance(value, dict) else ""


class Counted(io.RawIOBase):
    """A file that says how many of its bytes were read, at each read."""

    def __init__(self, raw: io.RawIOBase, tell: Callable[[int], None]) -> None:
        super().__init__()
        self._raw, self._tell, self._done = raw, tell, 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """As the file itself."""
        return self._raw.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See io.RawIOBase."""
        return self._raw.seek(offset, whence)

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        """See io.RawIOBase."""
        size = self._raw.readinto(buffer) or 0
        self._done += size
        self._tell(self._done)
        return size

    def close(self) -> None:
        """Close the file too."""
        self._raw.close()
        super().close()
