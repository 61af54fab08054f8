"""TLS as an operator meets it: the page's words, commands that serve, several workers, files that change."""

from __future__ import annotations

import http.client
import re
import shutil
import signal
import ssl
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
import trustme

from .commands import PATIENCE, ROOT, blitz, serving

PAGE = (ROOT / "docs" / "tls.md").read_text(encoding="utf-8")
ROUTE = '[[routes]]\nanswer = { status = 200, body = "ok" }\n'


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def write_pair(ca: trustme.CA, directory: Path) -> None:
    """A new certificate for localhost, put in place as renewal tools do."""
    made = ca.issue_cert("localhost")
    made.private_key_pem.write_to_path(str(directory / "new.key"))
    made.cert_chain_pems[0].write_to_path(str(directory / "new.pem"))
    (directory / "new.key").replace(directory / "key.pem")
    (directory / "new.pem").replace(directory / "cert.pem")


def configuration(directory: Path, workers: int = 1) -> Path:
    file = directory / "blitz.toml"
    file.write_text(
        f"""
workers = {workers}
listen = [{{ address = "127.0.0.1:0", tls = true }}]

[[tls.certs]]
cert = "cert.pem"
key = "key.pem"

{ROUTE}"""
    )
    return file


def serial(port: int, ca: trustme.CA) -> str:
    """Ask for /; the serial number of the certificate that was shown."""
    context = ssl.create_default_context()
    ca.configure_trust(context)
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=PATIENCE)
    try:
        connection.request("GET", "/")
        number: str = connection.sock.getpeercert()["serialNumber"]
        assert connection.getresponse().read() == b"ok"
        return number
    finally:
        connection.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_worker_serves_takes_up_new_files_and_survives_signals(
    authority: trustme.CA, tmp_path: Path, workers: int
) -> None:
    write_pair(authority, tmp_path)
    with serving("run", "-c", str(configuration(tmp_path, workers))) as running:
        old = serial(running.port, authority)
        assert "https://127.0.0.1:" in running.wait_for("listening on")
        write_pair(authority, tmp_path)
        deadline = time.monotonic() + PATIENCE
        while old in {serial(running.port, authority) for _ in range(8)}:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        running.process.send_signal(signal.SIGHUP)
        running.wait_for("generation 2")
        assert serial(running.port, authority)
        running.process.send_signal(signal.SIGUSR2)
        running.wait_for("the one before drains")
        assert serial(running.port, authority)
        assert running.stop() == 0


def test_validate_reads_the_files(authority: trustme.CA, tmp_path: Path) -> None:
    file = configuration(tmp_path)
    result = blitz("validate", str(file))
    assert result.returncode == 2
    assert f"{file}:6: tls.certs[0].cert: {tmp_path}/cert.pem: no such file; check the path" in result.stderr
    write_pair(authority, tmp_path)
    assert blitz("validate", str(file)).returncode == 0
    authority.issue_cert("localhost").private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    result = blitz("validate", str(file))
    assert f"{file}:7: tls.certs[0].key: {tmp_path}/key.pem: this key does not belong" in result.stderr


def test_a_gateway_that_cannot_read_its_key_says_so_and_ends(authority: trustme.CA, tmp_path: Path) -> None:
    write_pair(authority, tmp_path)
    (tmp_path / "key.pem").write_text("nothing")
    result = blitz("run", "-c", str(configuration(tmp_path)))
    assert result.returncode == 2
    assert "tls.certs[0].key" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "text", [pytest.param(text, id=f"block-{i}") for i, text in enumerate(blocks("toml"))]
)
def test_what_the_page_shows_is_right(text: str, authority: trustme.CA, tmp_path: Path) -> None:
    """Each example, completed where it is a fragment, with the files that it names."""
    shown = tomllib.loads(text)
    if "tls" in shown and "certs" not in shown["tls"]:
        text += '[[tls.certs]]\ncert = "certs/any.pem"\n'
    if (
        any(isinstance(one, dict) and one.get("tls") for one in shown.get("listen", []))
        and "tls" not in shown
    ):
        text += '[[tls.certs]]\ncert = "certs/any.pem"\n'
    (tmp_path / "certs").mkdir()
    for name in re.findall(r'"(certs/[^"]+)"', text):
        if "ca" in name:
            authority.cert_pem.write_to_path(str(tmp_path / name))
    for cert in re.findall(r'cert = "(certs/[^"]+)\.pem"', text):
        made = authority.issue_cert("example.org", "*.example.org")
        made.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / f"{cert}.pem"))
        made.private_key_pem.write_to_path(str(tmp_path / f"{cert}.key"))
    for name in shown.get("upstreams", {}):
        text += f'\n[[routes]]\nupstream = "{name}"\nhost = "{name}.test"\n'
    (tmp_path / "blitz.toml").write_text(f"{text}\n{ROUTE}")
    result = blitz("validate", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_pages_commands_work(tmp_path: Path) -> None:
    if not shutil.which("openssl") or not shutil.which("curl"):
        pytest.skip("needs openssl and curl")
    (script,) = blocks("sh")
    key, proxy, ask = re.split(r"^(?=blitz|curl)", script, flags=re.MULTILINE)
    subprocess.run(["sh", "-ec", key], cwd=tmp_path, check=True, capture_output=True, timeout=PATIENCE)
    configuration(tmp_path)
    (tmp_path / "origin.toml").write_text(f'listen = ["127.0.0.1:0"]\n{ROUTE}')
    with serving("run", "-c", "origin.toml", cwd=tmp_path) as origin:
        words = re.findall(r"'([^']*)'|(\S+)", proxy.replace("\\\n", " "))
        command = [quoted or plain for quoted, plain in words][1:]
        command = [word.replace(":8443", ":0").replace(":9000", f":{origin.port}") for word in command]
        with serving(*command, cwd=tmp_path) as running:
            ask = ask.replace("8443", str(running.port)).replace("curl ", "curl -sS ")
            result = subprocess.run(
                ["sh", "-ec", ask], cwd=tmp_path, capture_output=True, timeout=PATIENCE, check=False
            )
            assert (result.stdout, result.stderr) == (b"ok", b"")
