"""Style rules of the zh-cn localisation guide: `rules` of one text, `page` for whole Markdown pages, `metric` of rows."""
