"""Every message that crosses the worker's border, as strict models: the one place where input is judged.

`schemas.decode` turns bytes from the broker into these models, `schemas.documents` writes the JSON Schema
and AsyncAPI files that lie beside this module in `json/` and `asyncapi.json`.
"""
