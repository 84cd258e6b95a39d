"""Organisations by name, in a local set-up."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import psycopg

from commands.tenants import OpenTenant
from domain.roles import Actor, Role
from domain.tenants import TENANTS, TenantAlreadyOpen
from infra.log.codec import Envelope
from infra.log.identity import random_command_id, tenant_id_of
from infra.log.order import Order
from infra.log.service import open_log
from infra.settings import Settings
from infra.views.tables import schema_of

DEFAULTS = {"time_zone": "Europe/Ljubljana", "currency": "EUR"}


def tenant_id(settings: Settings, named: str) -> UUID:
    """Return the id of an organisation, given its id or name; one that is not known is opened with defaults."""
    try:
        return UUID(named)
    except ValueError:
        pass
    known = _known(settings, named)
    if known is not None:
        return known
    id = tenant_id_of(named)
    asyncio.run(_open(settings, id, named))
    return id


def _known(settings: Settings, name: str) -> UUID | None:
    with psycopg.connect(settings.need("projector_url"), autocommit=True) as connection:
        served = connection.execute("select build from fieldlog.views where context = 'tenants'").fetchone()
        if served is None:
            return None
        table = psycopg.sql.Identifier(schema_of("tenants", served[0]), "tenants")
        statement = psycopg.sql.SQL("select tenant_id from {} where name = %s order by tenant_id limit 1").format(table)
        row = connection.execute(statement, [name]).fetchone()
        return row[0] if row is not None else None


async def _open(settings: Settings, id: UUID, name: str) -> None:
    now = datetime.now(UTC)
    order = Order(
        tenant_id=id,
        stream=TENANTS,
        id=str(id),
        command=OpenTenant(name=name, **DEFAULTS),
        by=Actor("fieldlog", frozenset({Role.ADMIN})),
        at=now,
        now=now,
        command_id=random_command_id(),
        envelope=Envelope(command="tenants.open", actor="fieldlog", roles=(Role.ADMIN.value,)),
    )
    async with open_log(settings) as log:
        try:
            await log.desk.carry_out(order)
        except TenantAlreadyOpen:
            return
