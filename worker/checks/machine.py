"""Checks that look at the machine and the network: commands, disks, ports, web pages.

What only one of them needs is imported there: the others start sooner without it.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from worker.checks.contract import Context, Failed, Passed
from worker.checks.reading import expanded

MOST_BODY_BYTES = 1 << 20  # of an answer, in which the pattern is looked for

Result = Passed | Failed


def check_command(params: Mapping[str, Any], context: Context) -> Result:
    """The command ends with the exit code that is wanted. What it writes is in the job's log."""
    import subprocess

    command, wanted = params["command"], params["exit_code"]
    try:
        code = subprocess.run(
            command,
            shell=isinstance(command, str),
            cwd=context.cwd,
            env=dict(context.env),
            check=False,
        ).returncode
    except OSError as error:
        return Failed(f"cannot start {command!r}: {(error.strerror or '').lower()}")
    if code == wanted:
        return Passed()
    ended = f"exit code {code}" if code >= 0 else f"signal {-code}"
    return Failed(f"{command!r} ended with {ended}, not {wanted}")


def check_disk_space(params: Mapping[str, Any], context: Context) -> Result:
    """The disk that holds the path has room for this user, as much as is wanted."""
    path = expanded(params["path"], context)
    wanted, is_share = params["min_free"]
    try:
        disk = os.statvfs(path)
    except OSError as error:
        return Failed(f"cannot look at {params['path']!r}: {(error.strerror or '').lower()}")
    free = disk.f_bavail * disk.f_frsize
    if is_share:
        wanted *= disk.f_blocks * disk.f_frsize
    if free < wanted:
        return Failed(f"{_in_words(free)} are free at {params['path']!r}, not {_in_words(wanted)}")
    return Passed(f"{_in_words(free)} are free")


def check_tcp_port(params: Mapping[str, Any], context: Context) -> Result:
    """Somebody takes connections there."""
    import socket

    host, port = params["host"], params["port"]
    try:
        with socket.create_connection((host, port), timeout=max(0.001, context.left_s)):
            return Passed()
    except OSError as error:
        return Failed(f"cannot connect to {host}:{port}: {_why(error)}")


def check_http(params: Mapping[str, Any], context: Context) -> Result:
    """The page is answered with a status that is wanted, and its first MiB matches."""
    import http.client
    from urllib.parse import urlsplit

    url = params["url"]
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return Failed(f"parameter 'url': {error}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return Failed(f"parameter 'url' must begin with http:// or https://, found {url!r}")
    try:
        body_pattern = re.compile(params["body_pattern"] or "")
    except (re.error, OverflowError, RecursionError) as error:
        return Failed(f"parameter 'body_pattern' is no regular expression: {error}")
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname, port, timeout=max(0.001, context.left_s))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", target, headers={"User-Agent": "drawbar"})
        answer = connection.getresponse()
        body = answer.read(MOST_BODY_BYTES)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Failed(f"{url} does not answer: {_why(error)}")
    finally:
        connection.close()
    wanted = params["status"]
    if answer.status not in wanted if wanted else not 200 <= answer.status < 300:
        moved = f", to {answer.headers['Location']!r}" if "Location" in answer.headers else ""
        listed = " or ".join(map(str, wanted)) if wanted else "2xx"
        return Failed(f"{url} answers with {answer.status}{moved}, not {listed}")
    if not body_pattern.search(body.decode("utf-8", "replace")):
        return Failed(f"the answer of {url} does not match {params['body_pattern']!r}")
    return Passed(f"status {answer.status}")


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _in_words(size_bytes: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}" if unit == "bytes" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} TiB"
