"""Noise as the only way to secure a connection, with the record layer batched.

The handshake is the library's. After it, a write of any size becomes one send of several Noise
messages, and a read decrypts all that has arrived: the bytes on the wire are the same, at about
half the processor time.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from libp2p.connection_types import ConnectionType
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.base_session import BaseSession
from libp2p.security.exceptions import HandshakeFailure
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH
from libp2p.security.noise.transport import PROTOCOL_ID
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.security.secure_session import SecureSession
from multiaddr import Multiaddr

from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import PeerId, public_key_of

_READ = 256 * 1024


class _Half:
    """One direction's key and message counter."""

    def __init__(self, key: bytes, count: int) -> None:
        self.cipher = ChaCha20Poly1305(key)
        self.count = count

    def nonce(self) -> bytes:
        """The next 96-bit nonce."""
        nonce = b"\0\0\0\0" + self.count.to_bytes(8, "little")
        self.count += 1
        return nonce


class NoiseSession(BaseSession):  # type: ignore[misc]
    """A secured connection that takes over from the session the handshake returned."""

    def __init__(self, session: SecureSession, raw: RawConnection) -> None:
        super().__init__(
            local_peer=session.local_peer,
            local_private_key=session.local_private_key,
            remote_peer=session.remote_peer,
            remote_permanent_pubkey=session.remote_permanent_pubkey,
            is_initiator=session.is_initiator,
        )
        keys = session.conn.noise_state.noise_protocol
        sending, receiving = keys.cipher_state_encrypt, keys.cipher_state_decrypt
        self._out, self._in = _Half(sending.k, sending.n), _Half(receiving.k, receiving.n)
        self._raw = raw
        self._sealed = bytearray()
        self._opened = bytearray()

    async def write(self, data: bytes) -> None:
        """Seal and send everything."""
        view, parts = memoryview(data), list[bytes]()
        for start in range(0, len(view), MAX_PLAINTEXT_LENGTH):
            message = self._out.cipher.encrypt(self._out.nonce(), view[start : start + MAX_PLAINTEXT_LENGTH], None)
            parts += (len(message).to_bytes(2, "big"), message)
        await self._raw.write(b"".join(parts))

    async def read(self, n: int | None = None) -> bytes:
        """What has arrived, at most ``n`` bytes. Raises ConnectionClosedError at the end."""
        while not self._opened:
            arrived = await self._raw.read(_READ)
            if not arrived:
                raise ConnectionClosedError("connection closed", transport="noise")
            self._sealed += arrived
            self._open()
        data = bytes(self._opened if n is None else self._opened[:n])
        del self._opened[: len(data)]
        return data

    def _open(self) -> None:
        position, sealed = 0, memoryview(bytes(self._sealed))
        while len(sealed) - position >= 2:
            end = position + 2 + int.from_bytes(sealed[position : position + 2], "big")
            if len(sealed) < end:
                break
            try:
                self._opened += self._in.cipher.decrypt(self._in.nonce(), sealed[position + 2 : end], None)
            except InvalidTag as error:
                raise ConnectionClosedError("a message failed authentication") from error
            position = end
        del self._sealed[:position]

    async def close(self) -> None:
        """Close the connection below."""
        await self._raw.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        """Host and port of the far end."""
        remote: tuple[str, int] | None = self._raw.get_remote_address()
        return remote

    def get_transport_addresses(self) -> list[Multiaddr]:
        """The far end's address, as the library wants it."""
        addresses: list[Multiaddr] = self._raw.get_transport_addresses()
        return addresses

    def get_connection_type(self) -> ConnectionType:
        """Direct or relayed."""
        return self._raw.get_connection_type()


class BatchedNoise(NoiseTransport):  # type: ignore[misc]
    """The library's handshake, then our record layer; only Ed25519 identities are let in."""

    async def secure_inbound(self, conn: RawConnection) -> NoiseSession:
        """Answer a handshake. Raises HandshakeFailure."""
        return _admit(await super().secure_inbound(conn), conn)

    async def secure_outbound(self, conn: RawConnection, peer_id: ID) -> NoiseSession:
        """Begin a handshake. Raises HandshakeFailure."""
        return _admit(await super().secure_outbound(conn, peer_id), conn)


def secure_transports(key_pair: KeyPair) -> dict[str, BatchedNoise]:
    """What a connection may be secured with: Noise, and neither plaintext nor secio."""
    return {PROTOCOL_ID: BatchedNoise(key_pair, noise_privkey=create_new_key_pair().private_key)}


def _admit(session: SecureSession, raw: RawConnection) -> NoiseSession:
    try:
        public_key_of(PeerId(session.remote_peer.to_base58()))
    except ProtocolViolation as error:
        raise HandshakeFailure(error.message) from error
    return NoiseSession(session, raw)
