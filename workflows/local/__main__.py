"""`python -m workflows.local workflows/study.yaml --spec …`."""

import sys

from workflows.local.runner import main

sys.exit(main())
