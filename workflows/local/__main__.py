"""`python -m workflows.local workflows/study.yaml --spec …`."""

import sys

from workflows.local.command import main

sys.exit(main())
