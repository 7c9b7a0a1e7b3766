"""Any chat file as a stream of replies: where it lies, what its rows are, what was left out and why."""

from jobs.audit.chats.corpus import Corpus, open_corpus

__all__ = ["Corpus", "open_corpus"]
