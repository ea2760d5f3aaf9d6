"""Records: published results on each dataset and split, and ours among them."""
# menu: Studies, 95, :material/emoji_events:

from genrecore import ui
from genrecore.ui.records import view

ui.page(
    "Records",
    "The best published results on each dataset and split, and whether yours can be told apart.",
)
runs = ui.look_at_runs().runs

dataset = view.choose_dataset()
ui.opens(dataset)
with ui.sentences():
    view.show(runs, dataset)
