"""Datasets: what a dataset holds, how a split divides it, its faults, its sound."""
# menu: Work, 20, :material/library_music:

from genrecore import ui
from genrecore.ui.datasets import opening
from genrecore.ui.datasets import view as datasets
from genrecore.ui.datasets.choice import choose_dataset

ui.page("Datasets", "See, hear and check the music before a model learns from it.")

left, right = ui.pair("dataset", left=5, right=3)
with left:
    dataset = choose_dataset()
    ui.opens(dataset.name)
with right:
    data = opening.open_dataset(dataset)
    if data is not None:
        opening.offer_to_remember(dataset, data)
        opening.prepare(dataset)
if data is not None:
    datasets.facts(dataset, data)
    datasets.view(datasets.choose_view(), dataset, data)
datasets.storage()
