"""Does the installed wheel work away from the checkout? Run by its environment's Python, from any directory.

Copies the SDKs out of it. Starts ``blitz demo`` on ports of the kernel's choice, sends one request
without a key (a plugin of the wheel answers 401) and one with the demo's key (it reaches the upstream and
comes back), then SIGTERM: the process must end by itself with status 0.
"""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

STARTED = re.compile(r"http://127\.0\.0\.1:(\d+)")
KEY = re.compile(r"x-api-key: *([A-Za-z0-9_-]+)", re.IGNORECASE)
PATIENCE = 30.0


def main() -> int:
    import blitz

    where = Path(blitz.__file__).resolve()
    assert where.is_relative_to(Path(sys.prefix).resolve()), f"{where} is not the installed package"
    plugins = sorted(path.name for path in (where.parent / "_demo").glob("*.wasm"))
    assert plugins == ["auth_custom.wasm", "rate_limiter.wasm", "request_logger.wasm"], plugins

    executable = str(Path(sys.executable).parent / "blitz")
    copy_sdks(executable)
    command = [executable, "demo", "--listen", "127.0.0.1:0"]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watchdog = threading.Timer(PATIENCE, demo.kill)
    watchdog.start()
    try:
        return drive(demo)
    finally:
        watchdog.cancel()
        demo.kill()
        demo.wait()


def copy_sdks(executable: str) -> None:
    """The SDKs lie in the wheel, whole."""
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory, "sdk")
        subprocess.run([executable, "sdk", str(target)], check=True, stdout=subprocess.DEVNULL)
        for name in ("c/blitz.h", "cpp/README.md", "zig/blitz.zig", "rust/.cargo/config.toml", "go/go.mod"):
            assert (target / name).is_file(), f"blitz sdk did not copy {name}"
        assert (target / "assemblyscript" / "blitz.ts").is_file()


def drive(demo: subprocess.Popen[str]) -> int:
    said = ""
    port = key = None
    assert demo.stdout is not None
    for line in demo.stdout:
        said += line
        port = port or STARTED.search(line)
        key = key or KEY.search(line)
        if port and key:
            break
    assert port and key, f"the demo did not say where it listens and which key to use:\n{said}"

    drain = threading.Thread(target=demo.stdout.read)
    drain.start()
    refused = status(int(port[1]), {})
    assert refused == 401, f"without a key: {refused}, expected 401"
    answered = status(int(port[1]), {"x-api-key": key[1]})
    assert answered == 200, f"with the demo's key: {answered}, expected 200"

    demo.send_signal(signal.SIGTERM)
    code = demo.wait(PATIENCE)
    drain.join()
    assert code == 0, f"after SIGTERM: exit status {code}, expected 0"
    print("the wheel's demo answered 401 without a key, 200 with it, and ended on SIGTERM")
    return 0


def status(port: int, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/", headers=headers)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
