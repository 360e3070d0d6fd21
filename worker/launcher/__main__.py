"""`python -I -S worker/launcher FOLDER`, started by a worker (client.py): the launcher.

Isolated and without site packages, so that it starts in 20 ms and takes few MiB.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from worker.launcher.launcher import main

main(sys.argv[1])
