"""Renderings of a verdict: a table for the terminal, Markdown for a CI summary, JUnit XML, and a page of HTML.

Every rendering escapes foreign text (trace ids, URLs, endpoints, span names, messages) for where it is shown.
"""
