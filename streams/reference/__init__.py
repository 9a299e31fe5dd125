"""What railclear knows about the world: TOML rows with source, certainty and validity (`model`), parsed and refused row by row (`parse`).

`checks` a row by itself · `links` what it points at · `templates` fact templates of codes · `words` closed vocabularies · `working` hours.
Bytes come in as arguments; `agents.reference` reads the packaged files and a deployment's overlay.
"""
