"""`python -m drawbar.runner`: a task runner for Python functions. See docs/task-protocol.md.

A supervisor starts it as a file with `-I`, so that neither the folder it works in nor the
environment decides what is imported here. After that, the flow's own modules come first.
With `--serve` it runs no task itself, but turns copies of itself into task runners.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - in a container, whose Python is the image's
    sys.stderr.write("drawbar: tasks need Python 3.11 or newer; this is " + sys.version + "\n")
    sys.exit(78)  # which the supervisor knows

if not __package__:
    root = __file__.rpartition("/drawbar/")[0]
    sys.path.insert(0, root)
    from drawbar.runner.main import main

    sys.path.remove(root)  # an `import shared` in a task means the flow's own
else:
    from drawbar.runner.main import main

if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        from drawbar.runner.serving import serve

        sys.exit(serve())
    sys.exit(main())
