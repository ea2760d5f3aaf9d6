"""The rules of the demo genres: tempo range, rhythm patterns, harmony and preferred sounds.

Patterns are written one character a step. Drums: `x` a stroke, `o` a soft one. Bass: `r` root,
`t` third, `f` fifth, `o` octave. Chords: `x` the whole chord, `0` to `3` one of its tones. `-`
holds what sounds, `.` is silence. The ranges overlap on purpose, and clips and artists borrow from
other genres (`CLIP_BORROWS`, `ARTIST_BORROWS`), as musicians do: otherwise every model would be
right about every clip, and there would be nothing to compare.
"""

from __future__ import annotations

from dataclasses import dataclass

CLIP_BORROWS = 0.07
"""Probability that a clip takes its rhythm, and apart from that its harmony, from another genre."""

ARTIST_BORROWS = 0.12
"""Probability that an artist takes an instrument (each of four) from another genre."""


@dataclass(frozen=True)
class Drums:
    """One bar of drumming; a pattern shorter than the bar is repeated."""

    kick: str
    snare: str
    hat: str


@dataclass(frozen=True)
class GenreRule:
    """What clips of one genre have in common."""

    name: str
    tempo_bpm: tuple[float, float]
    n_steps: int  # a bar, four steps a beat: 16 is 4/4, 12 is 3/4
    swing: float  # how late every second step comes, as a share of a step
    scales: tuple[str, ...]
    progressions: tuple[tuple[int, ...], ...]  # scale degrees from 0, one a bar
    drums: tuple[Drums, ...]
    bass: tuple[str, ...]
    chords: tuple[str, ...]
    melody_density: tuple[float, float]  # notes a beat
    chord_sounds: tuple[str, ...]
    bass_sounds: tuple[str, ...]
    melody_sounds: tuple[str, ...]
    kits: tuple[str, ...]
    balance: tuple[float, float, float, float]  # gains of chords, bass, melody, drums
    room_s: tuple[float, float]  # how long the room rings
    tilt_db: float  # an octave: below 0 is dark
    echo_beats: float  # 0 is no echo


SCALES: dict[str, tuple[int, ...]] = {  # semitones above the tonic
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "pelog": (0, 1, 3, 7, 8),
    "pentatonic": (0, 2, 4, 7, 9),
}

GENRES: tuple[GenreRule, ...] = (
    GenreRule(
        name="ambient",
        tempo_bpm=(58, 96),
        n_steps=16,
        swing=0.0,
        scales=("lydian", "major", "dorian", "pentatonic"),
        progressions=((0, 3), (0, 4, 5, 3), (0, 2), (0, 1)),
        drums=(
            Drums("................", "................", "................"),
            Drums("x...............", "................", "....o.......o..."),
            Drums("................", "................", "..o...o...o...o."),
        ),
        bass=("r---------------", "r-------f-------"),
        chords=("x---------------", "x-------x-------", "0---1---2---3---"),
        melody_density=(0.2, 0.6),
        chord_sounds=("pad", "pad", "pad", "organ"),
        bass_sounds=("sub", "pad"),
        melody_sounds=("pad", "flute", "bell"),
        kits=("hand", "brushes"),
        balance=(1.1, 0.8, 0.9, 0.5),
        room_s=(0.8, 2.0),
        tilt_db=-1.0,
        echo_beats=0.0,
    ),
    GenreRule(
        name="techno",
        tempo_bpm=(118, 146),
        n_steps=16,
        swing=0.0,
        scales=("minor", "phrygian", "dorian"),
        progressions=((0,), (0, 0, 5, 6), (0, 5), (0, 3)),
        drums=(
            Drums("x...x...x...x...", "....x.......x...", "..x...x...x...x."),
            Drums("x...x...x...x...", "............x..o", "oxoxoxoxoxoxoxox"),
            Drums("x...x...x...x.x.", "....x.......x...", "..x...x...x...xo"),
        ),
        bass=("..r-..r-..r-..r-", "rrrrrrrrrrrrrrrr", "r..r..r.r..r..ro"),
        chords=("...x..x....x..x.", "x-..............", "..x...x...x...x."),
        melody_density=(0.4, 1.5),
        chord_sounds=("saw", "saw", "saw", "organ"),
        bass_sounds=("saw", "saw", "sub"),
        melody_sounds=("saw", "saw", "pulse"),
        kits=("electronic",),
        balance=(0.7, 1.2, 0.7, 1.5),
        room_s=(0.1, 0.5),
        tilt_db=0.0,
        echo_beats=0.0,
    ),
    GenreRule(
        name="waltz",
        tempo_bpm=(88, 160),
        n_steps=12,
        swing=0.0,
        scales=("major", "minor", "major"),
        progressions=((0, 4, 4, 0), (0, 3, 4, 0), (0, 5, 1, 4), (0, 0, 4, 4)),
        drums=(
            Drums("............", "............", "............"),
            Drums("x...........", "....o...o...", "x...o...o..."),
            Drums("x...........", "............", "....o...o..."),
        ),
        bass=("r---........", "r-------....", "r---....f---"),
        chords=("....x---x---", "....x-..x-..", "..0-1-2-3-2-"),
        melody_density=(0.8, 1.8),
        chord_sounds=("reed", "reed", "reed", "piano"),
        bass_sounds=("string", "sub"),
        melody_sounds=("reed", "reed", "flute", "piano"),
        kits=("brushes", "brushes", "military"),
        balance=(1.0, 1.0, 1.2, 0.5),
        room_s=(0.3, 0.9),
        tilt_db=0.0,
        echo_beats=0.0,
    ),
    GenreRule(
        name="dub",
        tempo_bpm=(66, 100),
        n_steps=16,
        swing=0.12,
        scales=("minor", "dorian"),
        progressions=((0, 3), (0, 0, 6, 6), (0, 4), (0, 3, 0, 4)),
        drums=(
            Drums("........x.......", "........x.......", "x.o.x.o.x.o.x.o."),
            Drums("x.......x.......", "........x.....o.", "..x...x...x...x."),
            Drums("x...x...x...x...", "........x.......", "o.x.o.x.o.x.o.xx"),
        ),
        bass=("r--r--f-..r-t-..", "r-..r-r-..f-..r-", "..r-r-..t-f-r-.."),
        chords=("....x.......x...", "..x...x...x...x.", "..xx..x...xx..x."),
        melody_density=(0.2, 0.8),
        chord_sounds=("organ", "organ", "organ", "piano"),
        bass_sounds=("sub",),
        melody_sounds=("organ", "flute", "brass"),
        kits=("acoustic", "acoustic", "electronic"),
        balance=(0.9, 1.7, 0.7, 1.0),
        room_s=(0.3, 1.0),
        tilt_db=-1.5,
        echo_beats=0.75,
    ),
    GenreRule(
        name="chiptune",
        tempo_bpm=(116, 172),
        n_steps=16,
        swing=0.0,
        scales=("major", "minor", "mixolydian"),
        progressions=((0, 4, 5, 3), (0, 5, 3, 4), (0, 6, 5, 4), (0, 3, 4, 4)),
        drums=(
            Drums("x...x...x...x...", "....x.......x...", "x.x.x.x.x.x.x.x."),
            Drums("x.....x.x.....x.", "....x.......x..x", "oooooooooooooooo"),
        ),
        bass=("r.o.r.o.r.o.r.o.", "rroorroorroorroo", "r.r.f.f.r.r.o.o."),
        chords=("0120121001201210", "0.1.2.1.0.1.2.3.", "012.012.012.0123"),
        melody_density=(1.2, 2.6),
        chord_sounds=("pulse", "pulse", "pulse", "pulse", "saw"),
        bass_sounds=("pulse", "pulse", "pulse", "sub"),
        melody_sounds=("pulse", "pulse", "pulse", "saw"),
        kits=("chip",),
        balance=(0.9, 0.9, 1.1, 0.8),
        room_s=(0.05, 0.2),
        tilt_db=1.0,
        echo_beats=0.0,
    ),
    GenreRule(
        name="bossa",
        tempo_bpm=(104, 148),
        n_steps=16,
        swing=0.05,
        scales=("major", "dorian", "minor"),
        progressions=((1, 4, 0, 5), (0, 1, 2, 1), (0, 5, 1, 4), (0, 3, 2, 5)),
        drums=(
            Drums("x..ox..ox..ox..o", "x..x..x...x..x..", "oxoxoxoxoxoxoxox"),
            Drums("x.......x.......", "..x..x..x..x....", "x.oxx.oxx.oxx.ox"),
            Drums("................", "x..x...x..x.x...", "xoxoxoxoxoxoxoxo"),
        ),
        bass=("r-----f-f-----r-", "r--.r-f-f--.f-r-"),
        chords=("x..x..x...x..x..", "..x-..x-.x-..x-.", "x-.x..x-..x.x..."),
        melody_density=(0.6, 1.6),
        chord_sounds=("string", "string", "string", "string", "piano"),
        bass_sounds=("string", "sub"),
        melody_sounds=("flute", "flute", "string"),
        kits=("brushes", "brushes", "hand"),
        balance=(1.2, 1.0, 0.9, 0.8),
        room_s=(0.2, 0.6),
        tilt_db=0.0,
        echo_beats=0.0,
    ),
    GenreRule(
        name="march",
        tempo_bpm=(96, 132),
        n_steps=16,
        swing=0.0,
        scales=("major", "major", "mixolydian"),
        progressions=((0, 4, 0, 4), (0, 3, 4, 0), (0, 0, 4, 0), (0, 5, 3, 4)),
        drums=(
            Drums("x.......x.......", "x.oox.oox.ooxoxo", "................"),
            Drums("x...x...x...x...", "x..ox.oox..oxoox", "........x......."),
            Drums("x...x...x...x...", "..x...x...x.xoxo", "x.......x......."),
        ),
        bass=("r-..f-..r-..f-..", "r---f---r---f---"),
        chords=("..x...x...x...x.", "..x-..x-..x-..x-", "x---..x-x---..x-"),
        melody_density=(0.9, 2.0),
        chord_sounds=("brass", "brass", "brass", "brass", "reed"),
        bass_sounds=("brass", "brass", "brass", "sub"),
        melody_sounds=("brass", "brass", "flute"),
        kits=("military", "military", "military", "acoustic"),
        balance=(0.9, 1.0, 1.0, 1.2),
        room_s=(0.3, 1.0),
        tilt_db=0.5,
        echo_beats=0.0,
    ),
    GenreRule(
        name="gamelan",
        tempo_bpm=(70, 132),
        n_steps=16,
        swing=0.0,
        scales=("pelog", "pelog", "pentatonic"),
        progressions=((0, 0, 3, 0), (0, 2), (0, 3, 1, 0)),
        drums=(
            Drums("x...............", "................", "................"),
            Drums("x.......x..o....", "......o.......o.", "................"),
            Drums("x.....o.x.o...o.", "................", "x.......x......."),
        ),
        bass=("r---------------", "r-------f-------", "r---f---t---f---"),
        chords=("0.1.2.1.0.1.2.3.", "0123012301230123", "x...0.1.x...2.1."),
        melody_density=(1.0, 2.4),
        chord_sounds=("bell", "bell", "bell", "bell", "piano"),
        bass_sounds=("bell", "bell", "sub"),
        melody_sounds=("bell", "bell", "bell", "string"),
        kits=("hand",),
        balance=(1.1, 0.9, 1.1, 0.7),
        room_s=(0.4, 1.2),
        tilt_db=0.5,
        echo_beats=0.0,
    ),
)
