"""`python -m workflows.cluster submit --spec …`."""

import sys

from workflows.cluster.command import main

sys.exit(main())
