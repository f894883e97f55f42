"""What the environment says about the network, in the variables that curl and other programs read, too.

`HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY` name a proxy for a scheme; `NO_PROXY` names the hosts that need none.
`SSL_CERT_FILE` and `SSL_CERT_DIR` name the certificates that are trusted.
"""

import base64
import ssl
from dataclasses import dataclass
from typing import Any, Final
from urllib.request import getproxies, proxy_bypass

import httpx

from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.fetch.http1 import Headers

#: Scheme -> the port of an address that names none.
DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        scheme: ``https`` if the way to the proxy itself is encrypted.
        host, port: its address.
        authorization: value of `Proxy-Authorization`; None without a login.
    """

    scheme: str
    host: str
    port: int
    authorization: bytes | None = None

    @property
    def headers(self) -> Headers:
        """What a request to the proxy itself has besides its own."""
        return [(b"Proxy-Authorization", self.authorization)] if self.authorization else []


def proxy_for(scheme: str, host: str) -> Proxy | None:
    """The proxy for a host; None if it is reached directly.

    Raises:
        SettingsError: what the environment names is no HTTP proxy.
    """
    proxies = getproxies()
    named = proxies.get(scheme) or proxies.get("all")
    if not named or proxy_bypass(host):
        return None
    try:
        url = httpx.URL(named if "://" in named else f"http://{named}")
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in DEFAULT_PORTS or not url.host:
        raise SettingsError(
            f"the environment's proxy for {scheme}://{host} is not an HTTP proxy ({url.scheme or 'no address'}); set "
            f"{scheme.upper()}_PROXY to http://HOST:PORT, or add the host to NO_PROXY"
        )
    pair = f"{url.username}:{url.password}".encode()
    login = b"Basic " + base64.b64encode(pair) if url.userinfo else None
    return Proxy(url.scheme, url.raw_host.decode("ascii"), url.port or DEFAULT_PORTS[url.scheme], login)


def check_proxies(*urls: str) -> None:
    """Check that the environment names no proxy for these addresses that cannot be used.

    Raises:
        SettingsError: it does.
    """
    for url in map(httpx.URL, urls):
        proxy_for(url.scheme, url.host)


def trusted_certificates(*, trust_env: bool) -> ssl.SSLContext:
    """Whom to trust: whom the environment says, or else the library's list.

    Raises:
        SettingsError: what the environment names cannot be read.
    """
    try:
        return httpx.create_ssl_context(trust_env=trust_env)
    except OSError as error:  # a file that is none of certificates, too
        raise SettingsError(
            f"the certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be used ({error}); set it to what is "
            "there, or unset it"
        ) from error


def http_client(url: str, *, trust_env: bool = True, **options: Any) -> httpx.Client:
    """A client of the library for requests to one address.

    Raises:
        SettingsError: the environment names a proxy or certificates that cannot be used.
    """
    certificates = trusted_certificates(trust_env=trust_env)
    if trust_env:
        check_proxies(url)
    try:
        return httpx.Client(trust_env=trust_env, verify=certificates, **options)
    except (ImportError, ValueError) as error:  # the library looks at all of them, whatever the address
        raise SettingsError(
            "the environment names a proxy that is not an HTTP proxy; correct HTTP_PROXY, HTTPS_PROXY and ALL_PROXY"
        ) from error
