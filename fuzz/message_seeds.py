#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the seeds of message_fuzz into a directory: each body of the wire transcripts, once.

usage: fuzz/message_seeds.py DIRECTORY
"""
import hashlib
import json
import pathlib
import sys

TRANSCRIPTS = pathlib.Path(__file__).resolve().parent.parent / "tests/wire/transcripts"
FRAME_HEADER = 4


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for transcript in sorted(TRANSCRIPTS.glob("*.jsonl")):
        for line in transcript.read_text().splitlines():
            event = json.loads(line)
            if event["ev"] == "msg":
                body = bytes.fromhex(event["frame"])[FRAME_HEADER:]
                (directory / hashlib.sha1(body).hexdigest()).write_bytes(body)


main()
