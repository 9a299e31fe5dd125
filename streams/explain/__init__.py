"""Explains a status in three languages: whose word, which rule, what proves it, what was not checked, what to do next. Pure."""
