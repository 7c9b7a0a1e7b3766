"""The sections of a report, one a module: each makes its figures and sentences from a study and its bound numbers."""
