"""What a run leaves behind, and what a reader sees of it: timelines in, files and tables out."""
