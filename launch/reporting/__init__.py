"""Pictures and pages of results: what `vlasteer analyze` and the reports of studies are built of.

    style    colours, type and size of every picture; a figure as PNG bytes
    charts   pictures from arrays: forests of effects, dots by category, curves, dose and response
    motions  pictures of recorded motion: speed, height and knobs over time
    strips   frames of episodes beside each other, as JPEG bytes
    page     HTML parts: document, section, figure, table, findings; everything embedded, nothing fetched
    wording  conditions, numbers and dates as people read them
    runs     what was run, and every number, as HTML
    report   the report of `vlasteer analyze`

Imports point upward in this list only. Charts know no runs: they take arrays and small dataclasses and return PNG
bytes; `page.figure` embeds them. matplotlib is imported here only, and nowhere at import time of the command line.
"""
