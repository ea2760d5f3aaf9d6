"""Train: dataset, model and settings become a run that goes on without this page."""
# menu: Work, 90, :material/model_training:

from genrecore import ui
from genrecore.config.run import RunConfig
from genrecore.ui.parts import forms, readers
from genrecore.ui.train import submission

ui.page("Train", "Choose music and a model. The run goes on when you close this page.")

parent = readers.find(ui.chosen("from"))
base = parent.config if parent else RunConfig()
left, right = ui.pair("form", left=5, right=3)

with left:
    forms.preset_part()
    ui.section("1 · Data", "What the model learns from, and which clips are kept back to test it.")
    values = forms.data_part(base)
    ui.section("2 · Model", "How the model sees a clip, and the model itself.")
    values |= forms.model_part(base, values)
    ui.section("3 · Training")
    values |= forms.augment_part(base, values)
    values |= forms.training_part(base)

with right:
    ui.section("This run")
    submission.panel(values, parent)
