"""TLS contexts of listeners."""

import ssl


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """A context that serves this certificate. Raises OSError (ssl.SSLError is one) where the files are not right."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key)
    return context
