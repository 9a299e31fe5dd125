"""Explains a status in three languages: whose word, which rule, what proves it, what was not checked, what to do next. Pure.

`say` and the catalogues `texts_*` are used by the rules too; `document.explain` puts a status into words. Import that module directly.
"""
