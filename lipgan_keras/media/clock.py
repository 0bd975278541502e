"""The one clock of a media file: picture and sound, whoever reads them, take their times from here.

Recordings that were put one after the other (MPEG transport and program streams, Ogg) start their clocks anew, or jump
ahead, in mid-file. Then all streams do. A gap that one stream alone has is silence, or a picture that stands.
"""

import bisect
import collections
import os
from fractions import Fraction
from typing import Any

import av

from ..utils import files
from .container import open_container

_AHEAD = 3.0  # seconds; one that goes ahead by more, in all streams, jumps
_ALONE = 10.0  # the same where there is one stream alone: nothing else tells a jump from a pause
_ALIKE = 1.0  # seconds by which two streams' jumps may differ
_DISCONTINUOUS = 0x200  # AVFMT_TS_DISCONT: formats whose clocks may start anew


class Clock:
    """Seconds from a file's start (that of its earliest stream), rising over all of it.

    Attributes:
        joined: whether the file's own clock starts anew or jumps: such a file is read from its beginning.
        end: the end of the last packet, in seconds, where `joined`; else None.
    """

    BACK = 0.5  # seconds; a clock that goes back by more starts anew

    def __init__(self, path: str | os.PathLike, container, data: bool = False):
        parts = _parts(path) if not data and int(container.format.flags) & _DISCONTINUOUS else None
        self.joined = parts is not None
        self.end = None
        self._origin = Fraction(0)
        self._starts, self._shifts = {}, []
        self._counts = collections.Counter()
        if parts is not None:
            self._starts, self._shifts, self.end = parts
        elif container.start_time is not None:
            self._origin = Fraction(container.start_time, av.time_base)
        else:
            starts = [s.start_time * s.time_base for s in container.streams if s.start_time is not None]
            self._origin = min(starts, default=Fraction(0))

    def mend(self, packet) -> None:
        """Put a packet's times right, before it is decoded. Takes all packets of a stream, in their order."""
        if not self.joined:
            return
        index = packet.stream.index
        part = bisect.bisect_right(self._starts.get(index, []), self._counts[index])
        self._counts[index] += 1
        if packet.time_base:
            ticks = round(self._shifts[part] / packet.time_base)
            for name in ("pts", "dts"):
                if getattr(packet, name) is not None:
                    setattr(packet, name, getattr(packet, name) + ticks)

    def seconds(self, stamp: int, time_base: Fraction) -> Fraction:
        """A frame's or a packet's time stamp, in seconds on this clock."""
        return stamp * time_base - self._origin

    def stamp(self, seconds: float, time_base: Fraction) -> int:
        """The other way round, rounded down. Not for `joined` files."""
        return int((seconds + float(self._origin)) / time_base)


@files.known_by_file
def _parts(path):
    """(numbers of the packets with which parts begin, by stream; shifts of the parts; end), or None: of one part."""
    with open_container(path) as container:
        return _joined(container)


def _joined(container):
    packets = collections.defaultdict(
        list
    )  # by stream: (decoded at, shown from, until, place in the file), None without a time
    streams = [s for s in container.streams if s.type in ("video", "audio")]
    try:
        for place, packet in enumerate(container.demux(streams)):
            packets[packet.stream.index].append(_times(packet, place))
    except av.error.FFmpegError:
        pass  # what is behind it cannot be read by anybody
    jumps = {index: _jumps(found) for index, found in packets.items()}
    starts = _common(jumps, packets)
    if not starts:
        return None
    count = len(next(iter(starts.values())))
    shifts, end = [], Fraction(0)
    for part in range(count + 1):
        inside: list[Any] = []
        for index, found in packets.items():
            edges = [0, *starts[index], len(found)]
            inside += [one for one in found[edges[part] : edges[part + 1]] if one]
        if not inside:
            shifts.append(end)
            continue
        first = min(shown for _, shown, _, _ in inside)
        shifts.append(end - first)
        end += max(until for _, _, until, _ in inside) - first
    return starts, shifts, float(end)


def _times(packet, place):
    stamp = packet.dts if packet.dts is not None else packet.pts
    if stamp is None or not packet.time_base:
        return None
    shown = stamp if packet.pts is None else packet.pts
    until = shown + (packet.duration or 0)
    return stamp * packet.time_base, shown * packet.time_base, until * packet.time_base, place


def _jumps(packets):
    """[(number of the packet, place in the file, seconds)] where a stream's times go back, or far ahead."""
    found, last = [], None
    for number, one in enumerate(packets):
        if one and last is not None and not -Clock.BACK <= one[0] - last <= _AHEAD:
            found.append((number, one[3], float(one[0] - last)))
        last = one[0] if one else last
    return found


def _common(jumps, packets):
    """{stream: numbers of packets} of the jumps that all streams make that have packets behind it."""
    if not jumps:
        return {}
    leading = max(jumps, key=lambda index: len(packets[index]))
    starts = {index: [] for index in jumps}
    for number, place, by in jumps[leading]:
        matching = {leading: number}
        for index, found in packets.items():
            if index == leading or not found:
                continue
            near = [j for j in jumps[index] if abs(j[2] - by) < _ALIKE and j[0] not in starts[index]]
            nearest = min(near, key=lambda j: abs(j[1] - place), default=None)
            if nearest is not None:
                matching[index] = nearest[0]
            elif not any(one and one[3] > place for one in found):
                matching[index] = len(found)
        alone = len([found for found in packets.values() if found]) == 1
        if len(matching) < len([found for found in packets.values() if found]) or (alone and 0 < by < _ALONE):
            continue
        for index in starts:
            starts[index].append(matching.get(index, len(packets[index])))
    return starts if starts[leading] else {}
