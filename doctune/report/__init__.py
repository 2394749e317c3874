"""One self-contained HTML page about any number of systems on the same rows: no file beside it, no script, no network.

    page = page_of(evaluation, summary, slice_scores(evaluation, params), changes, pair=("tuned", "base"))
    write_text(Path("reports/report.html"), render(page))          # the evaluate stage; `doctune report` for any systems

diff.py      what two texts share and what each has alone: Chinese by character, Latin words and code whole
charts.py    bars and lines as inline SVG, drawn for a telephone and in the colours of the page
faults.py    where terms, markup, style and sanity go wrong, system beside system
gather.py    from an evaluation to what the page says
page.py      from that to HTML, the same bytes for the same facts
page.html    its only template, page.css its only style
"""
