"""`fieldlog drive`: plays a recorded track as a driver's phone, through the public API."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import typer
from rich.console import Console
from rich.progress import Progress

from domain.roles import Role
from infra.local.home import issue_token
from infra.local.phone import Phone, batches, read_gpx, shifted
from infra.local.tenants import tenant_id
from infra.settings import Settings

TOKEN_HOURS = 24.0
SWAPPED = 0.1


def play(settings: Settings, gpx: Path, speed: float, tenant: str, flaky: float, console: Console) -> None:
    """Drive the track on a new trip of a truck and a driver of its own, and say how far it led."""
    try:
        points = read_gpx(gpx)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    took = points[-1].at - points[0].at
    track = shifted(points, datetime.now(UTC) + took / speed)
    id = f"gpx-{int(time.time())}"
    token = issue_token(settings, tenant_id(settings, tenant), [Role.DISPATCHER], "drive", TOKEN_HOURS)
    headers = {"Authorization": f"Bearer {token}"}
    write, read = (f"http://{settings.host}:{port}" for port in (settings.write_port, settings.read_port))
    with httpx.Client(base_url=write, headers=headers, timeout=10) as client:
        phone = Phone(client, flaky, random.Random())
        begun = track[0].at - timedelta(seconds=1)
        _set_out(phone, id, begun)
        totals = {"accepted": 0, "duplicates": 0, "rejected": 0}
        waiting = list(batches(track))
        if flaky and len(waiting) > 2:
            _mix(waiting, phone.dice)
        with Progress(console=console) as bar:
            for batch in bar.track(waiting, description=f"driving {len(points)} fixes in {took / speed}"):
                _wait_for(batch, track[-1].at, speed)
                receipt = phone.send(f"/trips/{id}/record-locations", {"fixes": batch})
                totals["accepted"] += receipt["accepted"]
                totals["duplicates"] += receipt["duplicates"]
                totals["rejected"] += len(receipt["rejected"])
        done = phone.send(f"/trips/{id}/complete", {}, track[-1].at)
    trip = httpx.get(f"{read}/trips/{id}", headers=headers | {"If-Position-At-Least": str(done["position"])}).json()
    console.print(f"Trip {id}: {trip['distance_km']} km; {totals}; {phone.lost} messages were lost and sent again.")


def _set_out(phone: Phone, id: str, begun: datetime) -> None:
    phone.send(f"/trucks/{id}/register", {"number": id, "plate": id})
    phone.send(f"/drivers/{id}/register", {"name": f"Driver of {id}"})
    phone.send(f"/drivers/{id}/go-on-duty", {}, begun)
    plan = {"driver_id": id, "truck_id": id, "date": begun.date().isoformat()}
    phone.send(f"/trips/{id}/schedule", plan)
    phone.send(f"/trips/{id}/start", {}, begun)


def _mix(waiting: list[list[dict[str, Any]]], dice: random.Random) -> None:
    """Let some batches be overtaken by the one behind them."""
    for place in range(len(waiting) - 1):
        if dice.random() < SWAPPED:
            waiting[place], waiting[place + 1] = waiting[place + 1], waiting[place]


def _wait_for(batch: list[dict[str, Any]], ends: datetime, speed: float) -> None:
    """Wait until the played time has come to the end of a batch; time runs so that the track ends when it ends."""
    left = ends - datetime.fromisoformat(batch[-1]["at"])
    due = ends - left / speed
    time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
