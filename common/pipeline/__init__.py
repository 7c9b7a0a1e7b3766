"""A job's contract: what it declares, what names its results, one execution of it, its command line."""
