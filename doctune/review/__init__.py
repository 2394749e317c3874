"""People judge: a blind sheet out, ratings back, agreement between raters and what they preferred.

    doctune review export --rows 60 --seed 7 -o review        # review/raters/ to send, review/key.json to keep
    doctune review import anna.csv wei.csv --key review/key.json

sheet.py      which rows, in which order the systems stand in each, the CSV and the form; the key that un-blinds them
form.html     the same sheet in a browser, offline: form.js keeps ratings and gives them back as CSV
ratings.py    filled sheets, checked against the key
verdict.py    means with intervals, paired preference, Krippendorff's alpha
"""

SCALE = (1, 2, 3, 4, 5)
SCALE_WORDS = ("useless", "poor", "usable after work", "good, small faults", "as good as published")
