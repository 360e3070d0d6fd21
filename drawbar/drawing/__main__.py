"""`python -m drawbar.drawing FLOW.py`: run a flow file and print the pipeline that it drew.

Started by the loader in a process of its own: a flow file is a program, and no service runs one.
Also started as a file, so that nothing of the folder it stands in can be imported by accident.
"""

import sys

if not __package__:
    from pathlib import Path

    root = str(Path(__file__).parents[2])
    sys.path.insert(0, root)
    from drawbar.drawing.draw import main

    sys.path.remove(root)  # an `import shared` in a flow means the flow's own
else:
    from drawbar.drawing.draw import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
