"""Markup that a translation must keep: what of the source's is still there (`kept`), and two metrics of it (`metric`)."""
