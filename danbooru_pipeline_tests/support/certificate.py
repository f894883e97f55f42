"""A certificate that nobody signed, for servers of tests."""

import ssl
import subprocess
from pathlib import Path


def certified(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate of its own, which is left in ``cert.pem``."""
    files = [str(folder / "key.pem"), str(folder / "cert.pem")]
    subject = "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 {subject}".split()
    subprocess.run([*command, "-keyout", files[0], "-out", files[1]], check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    return context
