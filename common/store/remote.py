"""An object of a bucket as a file: read a part at a time, so that it may be larger than memory."""

import io

from common.store.objects import S3Objects, Stat

PART = 8 << 20  # bytes that one request asks for, at most


class RemoteFile(io.RawIOBase):
    """The bytes of a key, as they were when it was looked up. Reads raise as `S3Objects.part` does."""

    def __init__(self, objects: S3Objects, key: str, stat: Stat) -> None:
        super().__init__()
        self._objects, self._key, self._stat, self._place = objects, key, stat, 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True: a part begins anywhere."""
        return True

    def tell(self) -> int:
        """Where the next read begins, in bytes."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Begin the next read elsewhere. Raises: ValueError for a place before the beginning."""
        place = offset + (0, self._place, self._stat.size)[whence]
        if place < 0:
            raise ValueError(f"no place in a file: {place}")
        self._place = place
        return place

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        """Fill the buffer as far as one request goes; 0 at the end."""
        stop = min(self._place + min(len(buffer), PART), self._stat.size)
        if stop <= self._place:
            return 0
        data = self._objects.part(self._key, self._place, stop, self._stat.etag)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
