"""Tests of what consumers rely on: schemas, AsyncAPI, the format of events; and what no change may break."""
