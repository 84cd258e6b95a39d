"""The vault: keys of personal data, one per person (for fixes: per person and UTC day), wrapped by the master key.

A key is stored before the first append that uses it. Destroying it erases what it encrypted, everywhere and for ever; the
hashes of the log stay valid, because they cover the encrypted bytes. AES-256-GCM (NIST SP 800-38D).
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable
from datetime import date
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"\x01"
NONCE = 12
REMEMBERED = 20_000


class Person(NamedTuple):
    """Whom a key belongs to; `day` is set for data that has a key per UTC day."""

    tenant_id: UUID
    person_id: UUID
    day: date | None = None


class StoredKey(NamedTuple):
    """A row of the table `keys`; `wrapped` is None once the key is destroyed."""

    key_id: UUID
    tenant_id: UUID
    person_id: UUID
    day: date | None
    wrapped: bytes | None


class KeysNeeded(LookupError):
    """Keys are not in memory: `people` want one to encrypt with, `ids` name those that were used to encrypt."""

    def __init__(self, people: Iterable[Person] = (), ids: Iterable[UUID] = ()) -> None:
        self.people, self.ids = set(people), set(ids)
        super().__init__(f"{len(self.people)} people and {len(self.ids)} keys are not in memory")


class Vault:
    """The keys a process has in memory; whoever gets KeysNeeded loads or makes them and asks again."""

    def __init__(self, master_key: bytes) -> None:
        self._master = AESGCM(master_key)
        self.master_id = sha256(b"fieldlog master key" + master_key).hexdigest()[:16]
        self._current: OrderedDict[Person, tuple[UUID, AESGCM]] = OrderedDict()
        self._known: OrderedDict[UUID, AESGCM | None] = OrderedDict()

    def make(self, person: Person) -> StoredKey:
        """Return a new key for a person, wrapped, to be stored."""
        key_id, nonce = uuid4(), os.urandom(NONCE)
        wrapped = nonce + self._master.encrypt(nonce, AESGCM.generate_key(256), key_id.bytes)
        return StoredKey(key_id, *person, wrapped)

    def remember(self, keys: Iterable[StoredKey]) -> None:
        """Take stored keys into memory; destroyed ones are remembered as such."""
        for key in keys:
            if key.wrapped is None:
                self.forget([key.key_id])
                continue
            cipher = AESGCM(self._master.decrypt(key.wrapped[:NONCE], key.wrapped[NONCE:], key.key_id.bytes))
            self._known[key.key_id] = cipher
            self._current[Person(key.tenant_id, key.person_id, key.day)] = key.key_id, cipher
        for memory in (self._known, self._current):
            while len(memory) > REMEMBERED:
                memory.popitem(last=False)

    def forget(self, key_ids: Iterable[UUID]) -> None:
        """Drop destroyed keys from memory; what they encrypted reads as erased from now on."""
        gone = set(key_ids)
        self._known.update(dict.fromkeys(gone))
        for person in [person for person, (key_id, _) in self._current.items() if key_id in gone]:
            del self._current[person]

    def clear(self) -> None:
        """Drop every key from memory, for when news of destroyed ones may have been missed."""
        self._known.clear()
        self._current.clear()

    def encrypt(self, person: Person, plain: bytes, context: bytes) -> bytes:
        """Return version, key id, nonce and ciphertext; `context` must be given again to decrypt. Raises KeysNeeded."""
        found = self._current.get(person)
        if found is None:
            raise KeysNeeded(people=[person])
        key_id, cipher = found
        nonce = os.urandom(NONCE)
        return b"".join((VERSION, key_id.bytes, nonce, cipher.encrypt(nonce, plain, context)))

    def decrypt(self, blob: bytes, context: bytes) -> bytes | None:
        """Return the plain bytes, or None if the key is destroyed. Raises KeysNeeded, ValueError for another version."""
        if blob[:1] != VERSION:
            raise ValueError(f"encrypted with version {blob[0]}, this code knows {VERSION[0]}")
        cipher = self._known.get(key_id := UUID(bytes=blob[1:17]), _MISSING)
        if isinstance(cipher, _Missing):
            raise KeysNeeded(ids=[key_id])
        return None if cipher is None else cipher.decrypt(blob[17 : 17 + NONCE], blob[17 + NONCE :], context)


class _Missing:
    pass


_MISSING = _Missing()
