#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the seeds of tree_fuzz into a directory: trees of errors and causes of every shape.

usage: fuzz/tree_seeds.py DIRECTORY
"""
import pathlib
import struct
import sys


def pack(value):
    """msgpack of what trees are made of: ints, texts, lists, maps with text keys."""
    if isinstance(value, int):
        if 0 <= value < 128:
            return struct.pack("B", value)
        return struct.pack(">Bq", 0xD3, value) if value < 2**63 else struct.pack(">BQ", 0xCF, value)
    if isinstance(value, str):
        data = value.encode()
        return (struct.pack("B", 0xA0 | len(data)) if len(data) < 32
                else struct.pack(">BH", 0xDA, len(data))) + data
    if isinstance(value, list):
        return struct.pack(">BH", 0xDC, len(value)) + b"".join(map(pack, value))
    return struct.pack(">BH", 0xDE, len(value)) + b"".join(
        pack(key) + pack(item) for key, item in value.items())


ACTOR = {"name": "worker", "uuid": "4f1c2a", "host": "here", "pid": 4711}
SITE = {"file": "job.c", "function": "fetch", "line": 12}
PLAIN = {"type": "app.BadJob", "code": -5, "errno": -5, "code_name": "EIO", "message": "job 3",
         "site": SITE, "task_id": 7, "task_name": "fetch", "actor": ACTOR, "source": ACTOR}
SIGNAL = {"id": [2**63 + 5, 1], "layer": "os", "kind": "signal", "time": 1700000000000000000,
          "signal": {"number": 2, "pid": 812, "uid": 1000},
          "scope": {"id": 3, "name": "main", "actor": ACTOR, "task_id": 7, "task_name": "app",
                    "file": "app.c", "line": 20}}
CAUSE = {"id": [9, 2], "layer": "context", "kind": "opener left", "reason": "no longer needed",
         "requester": {"actor": ACTOR, "task_id": 7, "task_name": "app", **SITE}, "left_out": 4,
         "error": PLAIN, "because": SIGNAL}
CANCELLED = {**PLAIN, "type": "yoke.Cancelled", "errno": -4097, "cause": CAUSE,
             "inner_causes": [SIGNAL, CAUSE]}


def nested(key, depth):
    tree = dict(PLAIN)
    for _ in range(depth):
        tree = {"type": "app.Level", key: tree}
    return tree


SEEDS = {
    "plain": PLAIN,
    "empty": {},
    "remote": {**PLAIN, "relay": [ACTOR, {"name": "middle"}], "traceback": "at job.c:12, in fetch\n"},
    "carries": {**PLAIN, "because": PLAIN, "context": CANCELLED, "suppressed": [CANCELLED, PLAIN],
                "notes": ["one", "two"], "left_out": 2},
    "group": {**PLAIN, "type": "yoke.Group", "errno": -4099, "members": [PLAIN, CANCELLED, {}]},
    "cancelled": CANCELLED,
    "peer": {**PLAIN, "type": "yoke.ContextCancelled", "errno": -4101, "cause": CAUSE},
    "cause": CAUSE,
    "deep_because": nested("because", 20),
    "deep_context": nested("context", 20),
    "wide": {"members": [{}] * 300, "suppressed": [{}] * 100},
}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, tree in SEEDS.items():
        (directory / name).write_bytes(pack(tree))


main()
