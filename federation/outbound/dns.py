"""SRV records of other servers."""

from dataclasses import dataclass
from typing import Final, Protocol

LIFETIME_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """One SRV record (RFC 2782)."""

    priority: int
    weight: int
    target: str
    port: int


class ServiceRecords(Protocol):
    """Looks SRV records up."""

    async def look_up(self, name: str) -> list[ServiceRecord]:
        """The records of `name`, none where there are none or nobody answers."""
        ...


class DnsServiceRecords:
    """Asks the system's name servers."""

    async def look_up(self, name: str) -> list[ServiceRecord]:
        # Imported when first needed: most servers are found without it, and it takes a while to load.
        import dns.asyncresolver
        import dns.exception
        import dns.resolver

        try:
            answer = await dns.asyncresolver.resolve(name, "SRV", lifetime=LIFETIME_S, search=False)
        except (dns.exception.DNSException, OSError):
            return []
        records = [
            ServiceRecord(record.priority, record.weight, record.target.to_text(omit_final_dot=True), record.port)
            for record in answer
        ]
        # A target of "." says that the service is not there at all.
        return [record for record in records if record.target and record.target != "."]
