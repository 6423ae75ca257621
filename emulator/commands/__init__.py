"""The commands of `edgebed`: each reads words, calls what does the work, and shows what came of it."""
