"""From files to clip tables: datasets, splits, audits, corpus, downloads and uploads."""
