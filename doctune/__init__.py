"""doctune turns a bilingual documentation site into its own translator."""
