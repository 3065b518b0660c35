"""Certificates for tests, made by openssl: an authority of one's own, servers and clients that it vouches for."""

import ipaddress
import ssl
import subprocess


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    def __init__(self, folder):
        self.folder, self.count = folder, 0
        folder.mkdir()
        self.file, self.key = folder / "ca.pem", folder / "ca.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=test authority",
                "-keyout", self.key, "-out", self.file)

    def issue(self, name, extension):
        """The files of a certificate and its key."""
        self.count += 1
        certificate, key, request, more = (self.folder / f"{self.count}.{kind}" for kind in ("pem", "key", "csr", "ext"))
        more.write_text(extension + "\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key, "-CAcreateserial", "-days", "30", "-extfile", more, "-out", certificate)
        return certificate, key

    def client(self, name):
        return self.issue(name, "extendedKeyUsage=clientAuth")

    def server(self, host, clients=False):
        """A context for a server at `host`; clients: it talks only to those that the authority vouches for."""
        try:
            kind = f"IP:{ipaddress.ip_address(host)}"
        except ValueError:
            kind = f"DNS:{host}"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(host, f"subjectAltName={kind}"))
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.file)
        return context
