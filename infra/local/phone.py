"""A driver's phone: plays a track through the public API as phones do, in small batches over a network that fails.

What is not answered is sent again with the same idempotency key; answers are lost, batches overtake one another. Where it
is told to wait, it waits.
"""

from __future__ import annotations

import random
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

BATCH = 10
TRIES = 20


@dataclass(frozen=True)
class Point:
    """A point of a recorded track, WGS84 degrees."""

    at: datetime
    latitude: float
    longitude: float


def read_gpx(file: Path) -> list[Point]:
    """Return the timed track points of a GPX 1.0 or 1.1 file, in the order of time. Raises ValueError if there are none."""
    try:
        root = ET.parse(file).getroot()
    except ET.ParseError as error:
        raise ValueError(f"{file} is no GPX file: {error}") from error
    points = []
    for element in root.iter():
        if element.tag.rpartition("}")[2] != "trkpt":
            continue
        times = [child.text for child in element if child.tag.rpartition("}")[2] == "time"]
        if times and times[0]:
            at = datetime.fromisoformat(times[0].strip()).astimezone(UTC)
            points.append(Point(at, float(element.attrib["lat"]), float(element.attrib["lon"])))
    if not points:
        raise ValueError(f"{file} has no track points with times")
    return sorted(points, key=lambda point: point.at)


def shifted(points: Sequence[Point], ends: datetime) -> list[Point]:
    """Return the track as if it had just been driven, ending at a moment."""
    by = ends - points[-1].at
    return [Point(point.at + by, point.latitude, point.longitude) for point in points]


def batches(points: Sequence[Point]) -> Iterator[list[dict[str, Any]]]:
    """Yield what a phone sends: ten fixes at a time."""
    for start in range(0, len(points), BATCH):
        yield [
            {"at": point.at.isoformat(), "latitude": point.latitude, "longitude": point.longitude}
            for point in points[start : start + BATCH]
        ]


@dataclass
class Phone:
    """Sends over a network that loses requests before and answers after they arrive; `flaky` is how often (0 to 1)."""

    client: httpx.Client
    flaky: float
    dice: random.Random
    lost: int = 0

    def send(self, path: str, body: dict[str, Any], occurred_at: datetime | None = None) -> dict[str, Any]:
        """Send a command until it is answered. Raises httpx.HTTPStatusError for an answer that is no receipt."""
        headers = {"Idempotency-Key": f'"{uuid4()}"', "X-Application-Name": "phone"}
        if occurred_at is not None:
            headers["Occurred-At"] = occurred_at.isoformat()
        for _ in range(TRIES):
            if self.dice.random() < self.flaky:  # lost on the way there
                self.lost += 1
                continue
            try:
                answer = self.client.post(path, json=body, headers=headers)
            except httpx.TransportError:
                self.lost += 1
                continue
            if self.dice.random() < self.flaky:  # lost on the way back: it took effect, but the phone does not know
                self.lost += 1
                continue
            if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                time.sleep(int(answer.headers["Retry-After"]))
                continue
            if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                continue
            answer.raise_for_status()
            receipt: dict[str, Any] = answer.json()
            return receipt
        raise httpx.TransportError(f"{path} was not answered in {TRIES} tries")


def track_length(points: Sequence[Point]) -> timedelta:
    """Return how long the track took."""
    return points[-1].at - points[0].at
