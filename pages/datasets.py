"""Datasets: what a dataset holds, how a split deals it out, its faults, its sound."""
# menu: Work, 50, :material/library_music:

from genrecore import ui
from genrecore.ui.datasets import storage
from genrecore.ui.datasets import view as datasets

ui.page("Datasets", "See, hear and check the music before anything is learned from it.")

left, right = ui.pair("dataset", left=5, right=3)
with left:
    picked = datasets.choose_dataset()
with right:
    data = datasets.opened(picked)
if data is not None:
    datasets.facts(picked, data)
    datasets.view(datasets.choose_view(), picked, data)
storage.panel()
