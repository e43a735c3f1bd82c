"""The port that frontends share: one process holds it, so that no other service shares it by accident."""

import socket

from millirank.errors import ConfigError


def hold_port(host: str, port: int) -> socket.socket:
    """A socket that is bound with SO_REUSEPORT and does not listen: those that do must be the same user's.

    With SO_REUSEPORT alone two unrelated servers would silently share a port; so it is first taken without.

    Args:
        host: an address of this machine, or its name.
        port: 0 lets the system choose.

    Raises:
        ConfigError: if somebody else has the port, or the address is not of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        if port:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that linger are no server
                probe.bind(address)
                probe.listen()
        return _held(family, address)
    except OSError as error:
        fix = "stop what listens there, choose another --port, or name an address of this machine with --host"
        raise ConfigError(f"{host}:{port} cannot be bound ({error}): {fix}") from error


def _held(family: int, address: object) -> socket.socket:
    try:
        return _bound(family, address, reuse=False)
    except OSError:
        return _bound(family, address, reuse=True)  # connections linger of a server that did not share its port


def _bound(family: int, address: object, *, reuse: bool) -> socket.socket:
    """Without SO_REUSEADDR even a supervisor that starts at the same moment is told that the port is taken."""
    held = socket.socket(family)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        held.bind(address)  # type: ignore[arg-type]
    except OSError:
        held.close()
        raise
    return held
